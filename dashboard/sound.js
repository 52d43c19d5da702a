// A sound for a new alarm, if a person has switched it on.

import { effect, signal } from "@preact/signals";
import { openAlarms } from "./data/places.js";
import { activeAlarms, alarmsKnown, watchedId } from "./data/watch.js";
import { recall, remember } from "./memory.js";

const TONES = [880, 660, 880]; // Hz
const TONE = 0.22; // seconds
const LOUDNESS = 0.2;
const APART = 3_000; // milliseconds

export const soundOn = signal(recall("localStorage", "sound") === "on");

/** @type {AudioContext | null} */
let audio = null;

export function switchSound() {
  soundOn.value = !soundOn.value;
  remember("localStorage", "sound", soundOn.value ? "on" : "off");
  if (soundOn.value) ring(); // so that one hears what one has switched on
}

/** Ring for each alarm that nobody has acknowledged and that was not there before. */
export function ringForAlarms() {
  let everywhere = Infinity; // until the first answer, nothing is new
  effect(() => {
    const { unacknowledged } = openAlarms.value;
    if (unacknowledged > everywhere) ringOnce();
    everywhere = unacknowledged;
  });
  let here = /** @type {Set<unknown> | null} */ (null);
  effect(() => {
    watchedId.value;
    const open = new Set(activeAlarms.value.filter((alarm) => !alarm.acknowledged).map((alarm) => alarm.alarm_id));
    const isNew = here !== null && [...open].some((id) => !here?.has(id));
    if (isNew) ringOnce();
    here = alarmsKnown.value ? open : null;
  });
  // A browser lets no page sound before somebody has touched it.
  for (const touch of ["pointerdown", "keydown"]) window.addEventListener(touch, () => audio?.resume());
}

let rang = 0;

/** The same alarm is told by the overview and by its storehouse. */
function ringOnce() {
  if (!soundOn.peek() || Date.now() - rang < APART) return;
  rang = Date.now();
  ring();
}

function ring() {
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
