// What is known of the sensors of the watched storehouse besides their readings: limits, interval, place.

import { computed, effect, signal, untracked } from "@preact/signals";
import { Refused, ask, connection } from "./socket.js";
import { watchedId } from "./watch.js";

/** @import { Id, Sensor } from "../contract.js" */

/** @type {import("@preact/signals").Signal<Sensor[] | null>} null while they are not known, empty where nobody tells */
const sensors = signal(null);

export const sensorsKnown = computed(() => sensors.value !== null);

const byKey = computed(() => new Map(sensors.value?.map((sensor) => [sensorKey(sensor), sensor])));

let turn = 0;

effect(() => {
  const store_house_id = watchedId.value;
  if (connection.value === "connected") untracked(() => load(store_house_id));
});
effect(() => {
  watchedId.value;
  sensors.value = null;
});

/**
 * One sensor may measure several things: each of them is a sensor to us.
 * @param {{sensor_id: Id | null, metric: string | null}} sensor
 */
export function sensorKey({ sensor_id, metric }) {
  return JSON.stringify([sensor_id, metric]);
}

/**
 * @param {{sensor_id: Id | null, metric: string | null}} env
 * @returns {Sensor | undefined}
 */
export function sensorOf(env) {
  return byKey.value.get(sensorKey(env));
}

/**
 * The sensors with the limits that they have had since then; without, where the server does not tell.
 * @param {Id} store_house_id
 * @param {number} since milliseconds
 * @param {() => boolean} wanted
 * @returns {Promise<Sensor[] | undefined>}
 */
export async function sensorsSince(store_house_id, since, wanted) {
  try {
    return await ask("querySensors", { store_house_id, since: new Date(since).toISOString() }, wanted);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return [];
  }
}

/** Ask anew: limits have changed. */
export function refreshSensors() {
  return load(watchedId.peek());
}

/** @param {Id | null} store_house_id */
async function load(store_house_id) {
  const mine = ++turn;
  if (store_house_id === null) return;
  try {
    const answer = await ask("querySensors", { store_house_id }, () => mine === turn);
    if (answer) sensors.value = answer;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    sensors.value ??= [];
  }
}
