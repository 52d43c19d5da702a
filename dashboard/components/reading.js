// The parts of a reading on the page: its age, trend, sparkline and limits.

import { html } from "htm/preact";
import { trend } from "../data/recent-readings.js";
import { now } from "../data/time.js";
import { age } from "../words/times.js";
import { translate } from "../words/translate.js";
import { formatValue } from "../words/values.js";

/** @import { ChartLimits, Env } from "../contract.js" */

const ARROWS = { 1: "M8 13V3M4 7l4-4 4 4", 0: "M3 8h10M9 4l4 4-4 4", [-1]: "M8 3v10M4 9l4 4 4-4" };
const DIRECTIONS = /** @type {const} */ ({ 1: "rising", 0: "steady", [-1]: "falling" });
// Sizes of a sparkline, in the units of its view box
const WIDTH = 100;
const HEIGHT = 24;
const EDGE = 2; // margin, so that half the width of the line fits
const MARGIN = 0.25; // margin of a limit bar on both sides of the limits, as a fraction of the range between the limits

/** Shows the age of a reading, updated each second. @param {{time: string | null}} props */
export function Age({ time }) {
  const text = time === null ? translate("noReadingYet") : age((now.value - Date.parse(time)) / 1000);
  return html`<span class="age">${text}</span>`;
}

/** Shows whether the value rises, falls or is steady. @param {{env: Env}} props */
export function Trend({ env }) {
  const direction = /** @type {1 | 0 | -1 | null} */ (trend(env));
  if (direction === null) return null;
  return html`<svg class="trend" viewBox="0 0 16 16" role="img" aria-label=${translate(DIRECTIONS[direction])}>
    <path d=${ARROWS[direction]} />
  </svg>`;
}

/**
 * Shows a small curve without axes. It has gaps where points are missing.
 * @param {{points: ([x: number, y: number] | null)[]}} props `x` from 0 to 1
 */
export function Sparkline({ points }) {
  const values = points.flatMap((point) => (point ? [point[1]] : []));
  if (values.length < 2) return html`<svg class="spark" aria-hidden="true"></svg>`;
  const [lowest, highest] = [Math.min(...values), Math.max(...values)];
  const scale = highest > lowest ? (HEIGHT - 2 * EDGE) / (highest - lowest) : 0;
  const y = (/** @type {number} */ value) => (scale ? HEIGHT - EDGE - (value - lowest) * scale : HEIGHT / 2);
  let d = "";
  let pen = "M";
  for (const point of points) {
    if (point) d += `${pen}${(point[0] * WIDTH).toFixed(1)} ${y(point[1]).toFixed(1)}`;
    pen = point ? "L" : "M";
  }
  return html`<svg class="spark" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true">
    <path d=${d} />
  </svg>`;
}

/** Shows a bar with the value and its limits. @param {{env: Env, limits: ChartLimits}} props */
export function LimitBar({ env, limits }) {
  const set = [limits.low_low, limits.low, limits.high, limits.high_high].filter((limit) => limit !== null);
  if (set.length === 0 || env.value === null) return null;
  const [from, to] = shownRange(set, env.value);
  const percent = (/** @type {number} */ value) => Math.max(0, Math.min(100, ((value - from) / (to - from)) * 100));
  const zone = (/** @type {string} */ name, /** @type {number} */ start, /** @type {number} */ end) =>
    html`<i class=${name} style=${{ left: `${percent(start)}%`, width: `${percent(end) - percent(start)}%` }}></i>`;
  const low = limits.low ?? limits.low_low ?? from;
  const high = limits.high ?? limits.high_high ?? to;
  return html`<span class="limit-bar" role="img" aria-label=${describeLimits(env, limits)}>
    ${zone("out", from, to)}
    ${zone("near", limits.low_low ?? low, limits.high_high ?? high)}
    ${zone("within", low, high)}
    <b style=${{ left: `${percent(env.value)}%` }}></b>
  </span>`;
}

/**
 * Return the limits as text.
 * @param {{metric: string, unit: string}} sensor
 * @param {ChartLimits} limits
 */
export function describeLimits({ metric, unit }, limits) {
  const low = limits.low ?? limits.low_low;
  const high = limits.high ?? limits.high_high;
  const words = { low: formatValue(metric, low, unit), high: formatValue(metric, high, unit) };
  if (low !== null && high !== null) return translate("limitsBetween", words);
  if (high !== null) return translate("limitsBelow", words);
  return low === null ? translate("limitsNone") : translate("limitsAbove", words);
}

/**
 * Return the range of the bar: the limits and a margin. If there is only one limit, the range extends to the value.
 * @param {number[]} limits
 * @param {number} value
 * @returns {[number, number]}
 */
function shownRange(limits, value) {
  const all = limits.length > 1 ? limits : [...limits, value];
  const [lowest, highest] = [Math.min(...all), Math.max(...all)];
  const margin = (highest - lowest || Math.abs(highest) || 1) * MARGIN;
  return [lowest - margin, highest + margin];
}
