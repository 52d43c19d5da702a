// The last hour of each sensor of the watched storehouse: asked for once, then what is heard is added.

import { effect, signal, untracked } from "@preact/signals";
import { history } from "./history.js";
import { sensorKey } from "./sensors.js";
import { Refused, connection } from "./socket.js";
import { now } from "./time.js";
import { onReading, watchedId } from "./watch.js";

/** @import { Env, Id } from "../contract.js" */
/** @typedef {[time: number, value: number]} Sample milliseconds */

const SPAN = 3_600_000; // milliseconds
const POINTS = 60;
const MOST = 240; // samples of a sensor: one that reports each second is thinned
const TREND_SPAN = 15 * 60_000; // milliseconds
const TREND_LEAST = 4 * 60_000; // milliseconds; of less than that nothing is said

/** How far a metric must move in a quarter of an hour for it to be a trend. */
const TREND = /** @type {Record<string, number>} */ ({
  temperature: 0.5,
  humidity: 2,
  co2: 50,
  pm25: 10,
  pressure: 2,
});

/** @type {Map<string, import("@preact/signals").Signal<Sample[]>>} */
let kept = new Map();

let turn = 0;

effect(() => {
  const store_house_id = watchedId.value;
  kept = new Map();
  if (connection.value === "connected" && store_house_id !== null) untracked(() => load(store_house_id));
});
onReading((env) => {
  if (env.value !== null && env.time !== null) add(sensorKey(env), [[Date.parse(env.time), env.value]]);
});

/**
 * The samples of the last hour, in order.
 * @param {{sensor_id: Id, metric: string}} env
 */
export function recent(env) {
  return samples(sensorKey(env));
}

/**
 * Where it is going: 1 up, -1 down, 0 steady, null where that cannot be said.
 * @param {Env} env
 * @returns {number | null}
 */
export function trend(env) {
  const least = TREND[env.metric];
  if (least === undefined || env.quality !== "good" || env.value === null || env.time === null) return null;
  const time = Date.parse(env.time);
  const before = recent(env).value.find(([then]) => then >= time - TREND_SPAN);
  if (before === undefined || time - before[0] < TREND_LEAST) return null;
  const change = env.value - before[1];
  return Math.abs(change) < least ? 0 : Math.sign(change);
}

/** @param {string} key */
function samples(key) {
  const known = kept.get(key) ?? signal([]);
  kept.set(key, known);
  return known;
}

/** @param {Id} store_house_id */
async function load(store_house_id) {
  const mine = ++turn;
  const end = now.peek();
  try {
    const answer = await history(store_house_id, end - SPAN, end, POINTS, { wanted: () => mine === turn });
    for (const sensor of answer?.sensors ?? []) {
      const means = sensor.points.map(([time, , , mean]) => /** @type {Sample} */ ([Date.parse(time), mean]));
      add(sensorKey(sensor), means);
    }
  } catch (error) {
    if (!(error instanceof Refused)) throw error; // a tile without its curve is still a tile
  }
}

/**
 * @param {string} key
 * @param {Sample[]} added
 */
function add(key, added) {
  const known = samples(key);
  const all = new Map([...added, ...known.peek()]);
  if (all.size === known.peek().length) return;
  const start = now.peek() - SPAN;
  const sorted = [...all].filter(([time]) => time > start).sort(([one], [other]) => one - other);
  known.value = sorted.length > MOST ? sorted.filter((_, index) => index % 2 === 0 || index > MOST / 2) : sorted;
}
