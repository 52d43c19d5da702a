// Derives the state of a sensor, and the age of its reading.

import { sensorKey, sensorOf } from "./sensors.js";
import { SENSOR_STATES, SEVERITIES, knownSeverity } from "./severity.js";
import { now } from "./time.js";
import { activeAlarms } from "./watched-storehouse.js";

/** @import { Alarm, Env, Severity } from "../contract.js" */
/** @import { SensorMetric, SensorState } from "../types.js" */

/**
 * Return the state of a sensor: its worst active alarm, or otherwise the quality of its reading. The state is good only
 * if the data is current.
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
 * Return the severity of the sensor's worst active alarm.
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
 * Return the age of a reading in intervals of its sensor, from 0 to 3. A sensor without an interval reports only
 * changes, so its readings do not age.
 * @param {Env} env
 */
export function ageing(env) {
  if (env.quality !== "good" || env.time === null) return 3;
  const interval = sensorOf(env)?.interval_s;
  if (!interval) return 0;
  const intervals = (now.value - Date.parse(env.time)) / 1000 / interval;
  return Math.max(0, Math.min(3, Math.floor(intervals)));
}
