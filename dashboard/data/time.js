// The server's time. The age of a reading must not depend on this computer's clock.

import { signal } from "@preact/signals";

const SECOND = 1_000; // milliseconds

let ahead = 0;

/** The server's time in milliseconds, updated each second. */
export const now = signal(Date.now());

/** The server's time in milliseconds, updated each minute. */
export const minute = signal(Date.now());

setInterval(tick, SECOND);

function tick() {
  now.value = Date.now() + ahead;
  if (now.value - minute.value >= 60 * SECOND || now.value < minute.value) minute.value = now.value;
}

/** @param {string} time the server's time, just received */
export function setClock(time) {
  const difference = Date.parse(time) - Date.now();
  if (Math.abs(difference - ahead) < SECOND / 2) return; // network delays vary, and the ages on the page must not jump
  ahead = difference;
  minute.value = 0;
  tick();
}
