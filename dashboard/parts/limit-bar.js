// Where a value lies between its limits.

import { html } from "htm/preact";
import { say } from "../words/say.js";
import { inWords } from "../words/values.js";

/** @import { Env, Limits } from "../contract.js" */

const MARGIN = 0.25; // of the span between the limits, shown beyond them on either side

/** @param {{env: Env, limits: Limits}} props */
export function LimitBar({ env, limits }) {
  const known = [limits.low_low, limits.low, limits.high, limits.high_high].filter((limit) => limit !== null);
  if (known.length === 0 || env.value === null) return null;
  const [from, to] = reach(known, env.value);
  const place = (/** @type {number} */ value) => Math.max(0, Math.min(100, ((value - from) / (to - from)) * 100));
  const zone = (/** @type {string} */ name, /** @type {number} */ start, /** @type {number} */ end) =>
    html`<i class=${name} style=${{ left: `${place(start)}%`, width: `${place(end) - place(start)}%` }}></i>`;
  const low = limits.low ?? limits.low_low ?? from;
  const high = limits.high ?? limits.high_high ?? to;
  return html`<span class="limit-bar" role="img" aria-label=${inLimits(env, limits)}>
    ${zone("out", from, to)}
    ${zone("near", limits.low_low ?? low, limits.high_high ?? high)}
    ${zone("within", low, high)}
    <b style=${{ left: `${place(env.value)}%` }}></b>
  </span>`;
}

/**
 * The limits in words.
 * @param {{metric: string, unit: string | null}} sensor
 * @param {Limits} limits
 */
export function inLimits({ metric, unit }, limits) {
  const low = limits.low ?? limits.low_low;
  const high = limits.high ?? limits.high_high;
  const words = { low: inWords(metric, low, unit), high: inWords(metric, high, unit) };
  if (low !== null && high !== null) return say("limitsBetween", words);
  if (high !== null) return say("limitsBelow", words);
  return low === null ? say("limitsNone") : say("limitsAbove", words);
}

/**
 * The span that is shown: the limits and a margin; with one limit alone, as far as the value on its other side.
 * @param {number[]} limits
 * @param {number} value
 * @returns {[number, number]}
 */
function reach(limits, value) {
  const all = limits.length > 1 ? limits : [...limits, value];
  const [lowest, highest] = [Math.min(...all), Math.max(...all)];
  const margin = (highest - lowest || Math.abs(highest) || 1) * MARGIN;
  return [lowest - margin, highest + margin];
}
