// A value and its limits as a bar.

import { html } from "htm/preact";
import { translate } from "../words/translate.js";
import { formatValue } from "../words/values.js";

/** @import { ChartLimits, Env } from "../contract.js" */

const MARGIN = 0.25; // of the span between the limits, shown beyond them on either side

/** @param {{env: Env, limits: ChartLimits}} props */
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
 * The limits in words.
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
 * The span that is shown: the limits and a margin; with one limit alone, as far as the value on its other side.
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
