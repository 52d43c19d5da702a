// The limits of sensors over time, as steps: rules change.

/** @import { ChartLimits, SensorAnswer } from "../contract.js" */
/** @typedef {{name: keyof ChartLimits, start: number, end: number, limit: number}} Step milliseconds */
/** @typedef {{start: number, end: number, limits: ChartLimits}} LimitSpan milliseconds */

const NAMES = /** @type {const} */ (["high", "low", "high_high", "low_low"]);

/**
 * The limits that all these sensors have in common, each as steps in order of time.
 * @param {(SensorAnswer | undefined)[]} sensors
 * @param {[number, number]} span milliseconds
 * @returns {Step[]}
 */
export function limitSteps(sensors, [from, to]) {
  const each = sensors.map(limitSpans);
  const times = each.flatMap((spans) => spans.flatMap(({ start, end }) => [start, end]));
  const edges = [from, ...new Set(times.filter((time) => time > from && time < to)), to].sort((a, b) => a - b);
  return NAMES.flatMap((name) => {
    /** @type {Step[]} */
    const steps = [];
    edges.slice(0, -1).forEach((start, index) => {
      const end = /** @type {number} */ (edges[index + 1]);
      const at = (/** @type {LimitSpan[]} */ spans) => spans.find((span) => start >= span.start && span.end > start);
      const limit = common(each.map((spans) => at(spans)?.limits[name]));
      const before = steps.at(-1);
      if (limit === null) return;
      if (before?.limit === limit && before.end === start) before.end = end;
      else steps.push({ name, start, end, limit });
    });
    return steps;
  });
}

/**
 * @param {SensorAnswer | undefined} sensor
 * @returns {LimitSpan[]}
 */
function limitSpans(sensor) {
  if (!sensor) return [];
  const former = (sensor.past_limits ?? []).map((limits) => ({
    start: Date.parse(limits.start),
    end: Date.parse(limits.end),
    limits,
  }));
  return [...former, { start: former.at(-1)?.end ?? -Infinity, end: Infinity, limits: sensor.limits }];
}

/** @param {(number | null | undefined)[]} limits */
function common([first, ...others]) {
  return typeof first === "number" && others.every((limit) => limit === first) ? first : null;
}
