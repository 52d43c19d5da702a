// The last hour of each sensor of the watched storehouse. It is loaded once, and pushed readings are then added.

import { effect, signal, untracked } from "@preact/signals";
import { METRICS } from "./metrics.js";
import { readingHistory } from "./history.js";
import { sensorKey } from "./sensors.js";
import { Refused, connection } from "./socket.js";
import { now } from "./time.js";
import { onReading, watchedId } from "./watched-storehouse.js";

/** @import { Env, Id } from "../contract.js" */
/** @typedef {[time: number, value: number]} Sample milliseconds */

const SPAN = 3_600_000; // milliseconds
const POINTS = 60;
const MAX_SAMPLES = 240; // maximum for each sensor; older samples are thinned
const TREND_SPAN = 15 * 60_000; // milliseconds
const MIN_TREND_SPAN = 4 * 60_000; // milliseconds; a shorter span has no trend

/** @type {Map<string, import("@preact/signals").Signal<Sample[]>>} */
let samplesByKey = new Map();

let turn = 0;

effect(() => {
  const store_house_id = watchedId.value;
  samplesByKey = new Map();
  if (connection.value === "connected" && store_house_id !== null) untracked(() => load(store_house_id));
});
onReading((env) => {
  if (env.value !== null && env.time !== null) add(sensorKey(env), [[Date.parse(env.time), env.value]]);
});

/**
 * Return a sensor's samples of the last hour, in chronological order.
 * @param {{sensor_id: Id, metric: string}} env
 */
export function recentReadings(env) {
  return samplesOf(sensorKey(env));
}

/**
 * Return the direction of the values: 1 if they rise, -1 if they fall, 0 if they are steady, null if it is unknown.
 * @param {Env} env
 * @returns {number | null}
 */
export function trend(env) {
  const step = METRICS.get(env.metric)?.trendStep;
  if (step === undefined || env.quality !== "good" || env.value === null || env.time === null) return null;
  const time = Date.parse(env.time);
  const before = recentReadings(env).value.find(([then]) => then >= time - TREND_SPAN);
  if (before === undefined || time - before[0] < MIN_TREND_SPAN) return null;
  const change = env.value - before[1];
  return Math.abs(change) < step ? 0 : Math.sign(change);
}

/** @param {string} key */
function samplesOf(key) {
  const samples = samplesByKey.get(key) ?? signal([]);
  samplesByKey.set(key, samples);
  return samples;
}

/** @param {Id} store_house_id */
async function load(store_house_id) {
  const mine = ++turn;
  const end = now.peek();
  try {
    const answer = await readingHistory(store_house_id, end - SPAN, end, POINTS, { wanted: () => mine === turn });
    for (const sensor of answer?.sensors ?? []) {
      const means = sensor.points.map(([time, , , mean]) => /** @type {Sample} */ ([Date.parse(time), mean]));
      add(sensorKey(sensor), means);
    }
  } catch (error) {
    if (!(error instanceof Refused)) throw error; // the tile is shown without its curve
  }
}

/**
 * @param {string} key
 * @param {Sample[]} added
 */
function add(key, added) {
  const samples = samplesOf(key);
  const all = new Map([...added, ...samples.peek()]);
  if (all.size === samples.peek().length) return;
  const start = now.peek() - SPAN;
  const sorted = [...all].filter(([time]) => time > start).sort(([first], [second]) => first - second);
  const isFull = sorted.length > MAX_SAMPLES;
  samples.value = isFull ? sorted.filter((_, index) => index % 2 === 0 || index > MAX_SAMPLES / 2) : sorted;
}
