// What is known of the sensors of the watched storehouse besides their readings: limits, interval, place.

import { computed, effect, signal, untracked } from "@preact/signals";
import { Refused, ask, connection } from "./socket.js";
import { watchedId } from "./watch.js";

/** @import { Id, Sensor } from "../contract.js" */

/** @type {import("@preact/signals").Signal<Sensor[]>} empty where the server does not tell */
export const sensors = signal([]);

const byKey = computed(() => new Map(sensors.value.map((sensor) => [sensorKey(sensor), sensor])));

let turn = 0;

effect(() => {
  const store_house_id = watchedId.value;
  if (connection.value === "connected") untracked(() => load(store_house_id));
});
effect(() => {
  watchedId.value;
  sensors.value = [];
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
  }
}
