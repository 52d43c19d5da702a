// The sensors of the watched storehouse, with their limits, intervals and positions.

import { computed, effect, signal, untracked } from "@preact/signals";
import { Refused, ask, connection } from "./socket.js";
import { watchedId } from "./watched-storehouse.js";

/** @import { Id, SensorAnswer } from "../contract.js" */
/** @import { SensorMetric } from "../types.js" */

/** @type {import("@preact/signals").Signal<SensorAnswer[] | null>} null until the server has answered, empty if it refuses */
const sensors = signal(null);

export const sensorsLoaded = computed(() => sensors.value !== null);

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
 * Return the key of a sensor and metric. If a sensor measures several metrics, the page shows each metric as a sensor.
 * @param {SensorMetric} sensor
 */
export function sensorKey({ sensor_id, metric }) {
  return JSON.stringify([sensor_id, metric]);
}

/**
 * @param {SensorMetric} env
 * @returns {SensorAnswer | undefined}
 */
export function sensorOf(env) {
  return byKey.value.get(sensorKey(env));
}

/**
 * Return the sensors with their limits since `since`, or an empty list if the server refuses.
 * @param {Id} store_house_id
 * @param {number} since milliseconds
 * @param {() => boolean} wanted
 * @returns {Promise<SensorAnswer[] | undefined>}
 */
export async function sensorsSince(store_house_id, since, wanted) {
  try {
    return await ask("querySensors", { store_house_id, since: new Date(since).toISOString() }, wanted);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return [];
  }
}

/** Load the sensors again, because limits have changed. */
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
