// Values as a person reads them.

import { METRICS } from "../data/metrics.js";
import { language, languageTag } from "./translate.js";

/** @param {string} metric */
export function metricName(metric) {
  return METRICS.get(metric)?.name[language.value] ?? metric;
}

/**
 * @param {string} metric
 * @param {string} [unit]
 */
export function isSwitch(metric, unit) {
  return !unit && METRICS.get(metric)?.kind === "switch";
}

/**
 * @param {string} metric
 * @param {string} [unit] undefined where it is not known
 */
export function unitOf(metric, unit) {
  return unit ?? METRICS.get(metric)?.unit ?? "";
}

/**
 * A value in two parts, for the unit is written smaller. A switch is a word and has no unit.
 * @param {string} metric
 * @param {number | null} value
 * @param {string} [unit]
 * @returns {{value: string, unit: string}}
 */
export function valueAndUnit(metric, value, unit) {
  if (value === null) return { value: "—", unit: "" };
  const term = isSwitch(metric, unit) ? METRICS.get(metric)?.switchWords?.[value] : undefined;
  if (term) return { value: term[language.value], unit: "" };
  return { value: formatNumber(value, METRICS.get(metric)?.decimals), unit: unitOf(metric, unit) };
}

/**
 * The same in one piece, for a sentence.
 * @param {string} metric
 * @param {number | null} value
 * @param {string} [unit]
 */
export function formatValue(metric, value, unit) {
  const parts = valueAndUnit(metric, value, unit);
  return parts.unit ? `${parts.value}\u202f${parts.unit}` : parts.value;
}

/** @type {Map<string, Intl.NumberFormat>} kept, for making one takes far longer than using it */
const formats = new Map();

/**
 * @param {number} value
 * @param {number} [decimals] as many as needed, up to three, for a metric of the site's own
 */
export function formatNumber(value, decimals) {
  const key = `${languageTag.value} ${decimals}`;
  const format =
    formats.get(key) ??
    new Intl.NumberFormat(languageTag.value, {
      minimumFractionDigits: decimals ?? 0,
      maximumFractionDigits: decimals ?? 3,
      signDisplay: "negative", // never -0.0
    });
  formats.set(key, format);
  return format.format(value).replace("-", "−"); // a minus as long as a plus, in line with the digits
}
