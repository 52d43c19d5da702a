// The state of a sensor, and how old its reading is.

import { sensorKey, sensorOf } from "./sensors.js";
import { SENSOR_STATES, SEVERITIES, knownSeverity } from "./severity.js";
import { now } from "./time.js";
import { activeAlarms } from "./watched-storehouse.js";

/** @import { Alarm, Env, Severity } from "../contract.js" */
/** @import { SensorMetric, SensorState } from "../types.js" */

/**
 * Of the reading: its worst active alarm, or else whether it can be trusted. Never good without current data.
 * @param {Env} env
 * @returns {SensorState}
 */
export function stateOf(env) {
  return severityOf(env) ?? (env.quality === "good" ? "good" : env.quality === "bad" ? "bad" : "stale");
}

/**
 * @param {Env[]} envs
 * @returns {SensorState | "empty"}
 */
export function worstState(envs) {
  const states = envs.map(stateOf);
  return SENSOR_STATES.find((state) => states.includes(state)) ?? "empty";
}

/**
 * The severity of its worst active alarm.
 * @param {Env} env
 * @returns {Severity | null}
 */
export function severityOf(env) {
  const severities = activeAlarms.value.filter((alarm) => concerns(alarm, env)).map(({ severity }) => knownSeverity(severity));
  return SEVERITIES.find((severity) => severities.includes(severity)) ?? null;
}

/**
 * @param {Alarm} alarm
 * @param {SensorMetric} sensor
 */
function concerns(alarm, sensor) {
  return sensorKey(alarm) === sensorKey(sensor);
}

/**
 * The age of a reading from new (0) to old (3), in intervals of its sensor. A sensor without an interval reports
 * changes only; its readings do not age.
 * @param {Env} env
 */
export function ageing(env) {
  if (env.quality !== "good" || env.time === null) return 3;
  const interval = sensorOf(env)?.interval_s;
  if (!interval) return 0;
  const intervals = (now.value - Date.parse(env.time)) / 1000 / interval;
  return Math.max(0, Math.min(3, Math.floor(intervals)));
}
