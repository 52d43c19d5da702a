// A sound for each new alarm, where the user has switched it on.

import { effect, signal } from "@preact/signals";
import { openAlarms } from "./data/storehouses.js";
import { activeAlarms, alarmsLoaded, watchedId } from "./data/watched-storehouse.js";
import { readStored, writeStored } from "./browser-storage.js";

const TONES = [880, 660, 880]; // Hz
const TONE = 0.22; // seconds
const LOUDNESS = 0.2; // 0 to 1
const MIN_PAUSE = 3_000; // milliseconds

export const soundOn = signal(readStored("localStorage", "sound") === "on");

/** @type {AudioContext | null} */
let audio = null;

export function switchSound() {
  soundOn.value = !soundOn.value;
  writeStored("localStorage", "sound", soundOn.value ? "on" : "off");
  if (soundOn.value) play(); // as a sample
}

/** Play it for each alarm that nobody has acknowledged and that was not there before. */
export function soundForAlarms() {
  let unacknowledgedBefore = Infinity; // until the first answer, nothing is new
  effect(() => {
    const { unacknowledged } = openAlarms.value;
    if (unacknowledged > unacknowledgedBefore) playOnce();
    unacknowledgedBefore = unacknowledged;
  });
  let idsBefore = /** @type {Set<unknown> | null} */ (null); // of the watched storehouse
  effect(() => {
    watchedId.value;
    const ids = new Set(activeAlarms.value.filter((alarm) => !alarm.acknowledged).map((alarm) => alarm.alarm_id));
    const isNew = idsBefore !== null && [...ids].some((id) => !idsBefore?.has(id));
    if (isNew) playOnce();
    idsBefore = alarmsLoaded.value ? ids : null;
  });
  // A browser lets no page play a sound before the user has touched it.
  for (const touch of ["pointerdown", "keydown"]) window.addEventListener(touch, () => audio?.resume());
}

let lastPlayed = 0;

/** The same alarm comes from the overview and from its storehouse. */
function playOnce() {
  if (!soundOn.peek() || Date.now() - lastPlayed < MIN_PAUSE) return;
  lastPlayed = Date.now();
  play();
}

function play() {
  audio ??= new AudioContext();
  audio.resume();
  const start = audio.currentTime + 0.05;
  TONES.forEach((frequency, index) => tone(/** @type {AudioContext} */ (audio), frequency, start + index * TONE * 1.3));
}

/**
 * @param {AudioContext} context
 * @param {number} frequency
 * @param {number} start
 */
function tone(context, frequency, start) {
  const oscillator = new OscillatorNode(context, { frequency, type: "triangle" });
  const loudness = new GainNode(context, { gain: 0 });
  oscillator.connect(loudness).connect(context.destination);
  loudness.gain.setValueAtTime(0, start);
  loudness.gain.linearRampToValueAtTime(LOUDNESS, start + 0.02);
  loudness.gain.linearRampToValueAtTime(0, start + TONE);
  oscillator.start(start);
  oscillator.stop(start + TONE);
}
