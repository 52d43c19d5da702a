// Plays a sound for each new alarm if the user has switched the sound on.

import { effect, signal } from "@preact/signals";
import { openAlarms } from "./data/storehouses.js";
import { activeAlarms, alarmsLoaded, watchedId } from "./data/watched-storehouse.js";
import { readStored, writeStored } from "./browser-storage.js";

const TONES = [880, 660, 880]; // Hz
const TONE = 0.22; // seconds
const LOUDNESS = 0.2; // 0 to 1
const MIN_PAUSE = 3_000; // milliseconds between two sounds

export const soundOn = signal(readStored("localStorage", "sound") === "on");

/** @type {AudioContext | null} */
let audio = null;

export function switchSound() {
  soundOn.value = !soundOn.value;
  writeStored("localStorage", "sound", soundOn.value ? "on" : "off");
  if (soundOn.value) play(); // the user then knows the sound
}

/** Play the sound for each new alarm that is not acknowledged. */
export function soundForAlarms() {
  let unacknowledgedBefore = Infinity; // before the first answer, no alarm is new
  effect(() => {
    const { unacknowledged } = openAlarms.value;
    if (unacknowledged > unacknowledgedBefore) playOnce();
    unacknowledgedBefore = unacknowledged;
  });
  let idsBefore = /** @type {Set<unknown> | null} */ (null); // ids of the watched storehouse's alarms
  effect(() => {
    watchedId.value;
    const ids = new Set(activeAlarms.value.filter((alarm) => !alarm.acknowledged).map((alarm) => alarm.alarm_id));
    const isNew = idsBefore !== null && [...ids].some((id) => !idsBefore?.has(id));
    if (isNew) playOnce();
    idsBefore = alarmsLoaded.value ? ids : null;
  });
  // A browser plays no sound before the user has clicked or typed on the page.
  for (const touch of ["pointerdown", "keydown"]) window.addEventListener(touch, () => audio?.resume());
}

let lastPlayed = 0;

/** Play only one sound for an alarm, although both the overview and the watched storehouse report it. */
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
