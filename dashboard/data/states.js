// How a sensor stands: its worst alarm, or else whether its reading can be trusted. Never good while it is silent.

import { sensorKey, sensorOf } from "./sensors.js";
import { now } from "./time.js";
import { activeAlarms } from "./watch.js";

/** @import { Alarm, Env, Severity } from "../contract.js" */
/** @typedef {Severity | "stale" | "bad" | "good"} SensorState */

export const SENSOR_STATES = /** @type {const} */ (["critical", "warning", "info", "bad", "stale", "good"]);
const SEVERITIES = /** @type {const} */ (["critical", "warning", "info"]);

/**
 * @param {Env} env
 * @returns {SensorState}
 */
export function stateOf(env) {
  return severityOf(env) ?? (env.quality === "good" ? "good" : env.quality === "bad" ? "bad" : "stale");
}

/**
 * The severity of its worst active alarm.
 * @param {Env} env
 * @returns {Severity | null}
 */
export function severityOf(env) {
  const its = activeAlarms.value.filter((alarm) => concerns(alarm, env)).map((alarm) => alarm.severity);
  return SEVERITIES.find((severity) => its.includes(severity)) ?? null;
}

/**
 * @param {Alarm} alarm
 * @param {{sensor_id: Env["sensor_id"], metric: string}} env
 */
export function concerns(alarm, env) {
  return sensorKey(alarm) === sensorKey(env);
}

/**
 * How far a reading is on its way from new (0) to old (3), in intervals of its sensor. One without an interval reports
 * changes only, and does not age.
 * @param {Env} env
 */
export function ageing(env) {
  if (env.quality !== "good" || env.time === null) return 3;
  const interval = sensorOf(env)?.interval_s;
  if (!interval) return 0;
  const intervals = (now.value - Date.parse(env.time)) / 1000 / interval;
  return Math.max(0, Math.min(3, Math.floor(intervals)));
}
