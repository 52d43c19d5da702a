// The data of a chart: readings as columns for uPlot, and limits as steps.
// The times in columns are in seconds, as in uPlot.

/** @import { ChartLimits, Curve, Point, SensorAnswer } from "../contract.js" */
/** @typedef {(number | null | undefined)[]} Column `null` is a gap; `undefined` is a time of other curves */
/** @typedef {{name: keyof ChartLimits, start: number, end: number, limit: number}} Step milliseconds */
/** @typedef {{start: number, end: number, limits: ChartLimits}} LimitSpan milliseconds */

const GAP_INTERVALS = 3; // number of intervals without a reading that count as a gap
const LIMIT_NAMES = /** @type {const} */ (["high", "low", "high_high", "low_low"]);

/**
 * Return the times, then for each curve its minimum, maximum and mean values.
 * @param {Curve[]} curves
 * @param {number} bucket seconds
 * @param {(number | null)[]} intervals of each curve's sensor, in seconds; null if it reports only changes
 * @returns {[number[], ...Column[]]}
 */
export function columns(curves, bucket, intervals) {
  const gapped = curves.map((curve, index) => withGaps(curve.points, bucket, intervals[index] ?? null));
  const times = [...new Set(gapped.flatMap((points) => points.map(([time]) => time)))].sort((a, b) => a - b);
  const rows = new Map(times.map((time, row) => [time, row]));
  const all = gapped.flatMap((points) => {
    const [low, high, mean] = [0, 1, 2].map(() => /** @type {Column} */ (new Array(times.length).fill(undefined)));
    for (const [time, ...values] of points) {
      const row = /** @type {number} */ (rows.get(time));
      [low, high, mean].forEach((column, index) => (/** @type {Column} */ (column)[row] = values[index] ?? null));
    }
    return /** @type {Column[]} */ ([low, high, mean]);
  });
  return [times, ...all];
}

/**
 * Insert an empty point into each gap, because a line across it would show values that were not measured.
 * @param {Point[]} points
 * @param {number} bucket seconds
 * @param {number | null} interval seconds
 * @returns {[time: number, min: number | null, max: number | null, mean: number | null][]}
 */
export function withGaps(points, bucket, interval) {
  const longest = interval === null ? Infinity : Math.max(1.5 * bucket, GAP_INTERVALS * interval + bucket);
  /** @type {[number, number | null, number | null, number | null][]} */
  const gapped = [];
  for (const [text, min, max, mean] of points) {
    const time = Date.parse(text) / 1000;
    const before = gapped.at(-1);
    if (before && time - before[0] > longest) gapped.push([before[0] + bucket, null, null, null]);
    gapped.push([time, min, max, mean]);
  }
  return gapped;
}

/**
 * Return the median time between two readings. It is used if the interval of the sensor is unknown.
 * @param {Point[]} points
 * @param {number} bucket seconds
 */
export function usualInterval(points, bucket) {
  const times = points.map(([time]) => Date.parse(time) / 1000);
  const distances = times.slice(1).map((time, index) => time - /** @type {number} */ (times[index]));
  return distances.sort((a, b) => a - b)[Math.floor(distances.length / 2)] ?? bucket;
}

/**
 * Return the limits that are the same for all sensors, each as steps in chronological order.
 * @param {(SensorAnswer | undefined)[]} sensors
 * @param {[number, number]} span milliseconds
 * @returns {Step[]}
 */
export function limitSteps(sensors, [from, to]) {
  const each = sensors.map(limitSpans);
  const times = each.flatMap((spans) => spans.flatMap(({ start, end }) => [start, end]));
  const edges = [from, ...new Set(times.filter((time) => time > from && time < to)), to].sort((a, b) => a - b);
  return LIMIT_NAMES.flatMap((name) => {
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
