// Formats values as text.

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
  return !unit && METRICS.get(metric)?.switchWords !== undefined;
}

/**
 * @param {string} metric
 * @param {string} [unit] undefined if it is unknown
 */
export function unitOf(metric, unit) {
  return unit ?? METRICS.get(metric)?.unit ?? "";
}

/**
 * Format a value and its unit separately, because the unit is written smaller. The value of a switch is a word without
 * a unit.
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
 * Format a value with its unit, for a sentence.
 * @param {string} metric
 * @param {number | null} value
 * @param {string} [unit]
 */
export function formatValue(metric, value, unit) {
  const parts = valueAndUnit(metric, value, unit);
  return parts.unit ? `${parts.value}\u202f${parts.unit}` : parts.value;
}

/** @type {Map<string, Intl.NumberFormat>} cached, because creating a formatter is far slower than using it */
const formats = new Map();

/**
 * @param {number} value
 * @param {number} [decimals] by default as many as needed, up to three
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
  return format.format(value).replace("-", "−"); // a minus sign as wide as a plus sign
}
