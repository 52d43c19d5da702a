// The readings of curves as a chart needs them: columns over common times. Times are seconds, as in uPlot.

/** @import { Curve, Point } from "../contract.js" */
/** @typedef {(number | null | undefined)[]} Column `null`: nothing was measured; `undefined`: nothing to say here */

const GAP_INTERVALS = 3; // intervals of a sensor without a reading that make a gap

/**
 * The times, then for each curve its lowest, highest and mean values.
 * @param {Curve[]} curves
 * @param {number} bucket seconds
 * @param {(number | null)[]} intervals of each curve's sensor, in seconds; null: it reports changes only
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
 * The points with an empty one in each gap: a line across it would show values that nobody has measured.
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
 * The median time between two readings: for a server that does not send the sensor's interval.
 * @param {Point[]} points
 * @param {number} bucket seconds
 */
export function usualInterval(points, bucket) {
  const times = points.map(([time]) => Date.parse(time) / 1000);
  const distances = times.slice(1).map((time, index) => time - /** @type {number} */ (times[index]));
  return distances.sort((a, b) => a - b)[Math.floor(distances.length / 2)] ?? bucket;
}
