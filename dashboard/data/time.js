// The server's time: a reading's age must not depend on this computer's clock.

import { signal } from "@preact/signals";

const SECOND = 1_000; // milliseconds

let ahead = 0;

/** The server's time in milliseconds, moving on once a second. */
export const now = signal(Date.now());

/** The same without the seconds, for what need not move so often. */
export const minute = signal(Date.now());

setInterval(tick, SECOND);

function tick() {
  now.value = Date.now() + ahead;
  if (now.value - minute.value >= 60 * SECOND || now.value < minute.value) minute.value = now.value;
}

/** @param {string} time of the server, just received */
export function setClock(time) {
  const difference = Date.parse(time) - Date.now();
  if (Math.abs(difference - ahead) < SECOND / 2) return; // the network's delay varies; ages must not jitter with it
  ahead = difference;
  minute.value = 0;
  tick();
}
