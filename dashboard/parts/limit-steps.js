// The limits of sensors over time: steps, for rules change.

/** @import { Limits, Sensor } from "../contract.js" */
/** @typedef {{name: keyof Limits, start: number, end: number, limit: number}} Step milliseconds */

const NAMES = /** @type {const} */ (["high", "low", "high_high", "low_low"]);

/**
 * The limits that all these sensors have in common, each as steps in order of time.
 * @param {(Sensor | undefined)[]} sensors
 * @param {[number, number]} span milliseconds
 * @returns {Step[]}
 */
export function limitSteps(sensors, [from, to]) {
  const each = sensors.map(held);
  const times = each.flatMap((one) => one.flatMap(({ start, end }) => [start, end]));
  const edges = [from, ...new Set(times.filter((time) => time > from && time < to)), to].sort((a, b) => a - b);
  return NAMES.flatMap((name) => {
    /** @type {Step[]} */
    const steps = [];
    edges.slice(0, -1).forEach((start, index) => {
      const end = /** @type {number} */ (edges[index + 1]);
      const limit = common(each.map((one) => one.find((those) => start >= those.start && those.end > start)?.limits[name]));
      const before = steps.at(-1);
      if (limit === null) return;
      if (before?.limit === limit && before.end === start) before.end = end;
      else steps.push({ name, start, end, limit });
    });
    return steps;
  });
}

/**
 * @param {Sensor | undefined} sensor
 * @returns {{start: number, end: number, limits: Limits}[]}
 */
function held(sensor) {
  if (!sensor) return [];
  const past = (sensor.past_limits ?? []).map((limits) => ({
    start: Date.parse(limits.start),
    end: Date.parse(limits.end),
    limits,
  }));
  return [...past, { start: past.at(-1)?.end ?? -Infinity, end: Infinity, limits: sensor.limits }];
}

/** @param {(number | null | undefined)[]} limits */
function common([first, ...others]) {
  return typeof first === "number" && others.every((limit) => limit === first) ? first : null;
}
