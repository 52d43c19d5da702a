// Values as a person reads them.

import { known, languageTag, named, say } from "./say.js";

/** How each metric is written. The unit is for where the server names none. */
const METRICS = /** @type {Record<string, {decimals: number, unit: string}>} */ ({
  temperature: { decimals: 1, unit: "°C" },
  humidity: { decimals: 1, unit: "%" },
  light: { decimals: 0, unit: "lx" },
  co2: { decimals: 0, unit: "ppm" },
  pm25: { decimals: 0, unit: "µg/m³" },
  pressure: { decimals: 1, unit: "hPa" },
  power: { decimals: 2, unit: "" }, // in kW; where it has no unit it is a switch
});

/** The names of switches: each is a word for 0 and one for 1. */
const SWITCHES = ["smoke", "door", "water", "power"];

/** @param {string} metric */
export function metricName(metric) {
  return named("metric", metric);
}

/**
 * @param {string} metric
 * @param {string | null} [unit]
 */
export function isSwitch(metric, unit) {
  return !unit && SWITCHES.includes(metric);
}

/**
 * @param {string} metric
 * @param {string | null} [unit]
 */
export function unitOf(metric, unit) {
  return unit ?? METRICS[metric]?.unit ?? "";
}

/**
 * A value in two parts, for the unit is written smaller. A switch is a word and has no unit.
 * @param {string} metric
 * @param {number | null} value
 * @param {string | null} [unit]
 * @returns {{value: string, unit: string}}
 */
export function measured(metric, value, unit) {
  if (value === null) return { value: "—", unit: "" };
  const position = `${metric}_${value}`;
  if (isSwitch(metric, unit) && known(position)) return { value: say(position), unit: "" };
  return { value: number(value, METRICS[metric]?.decimals), unit: unitOf(metric, unit) };
}

/**
 * The same in one piece, for a sentence.
 * @param {string} metric
 * @param {number | null} value
 * @param {string | null} [unit]
 */
export function inWords(metric, value, unit) {
  const parts = measured(metric, value, unit);
  return parts.unit ? `${parts.value}\u202f${parts.unit}` : parts.value;
}

/** @type {Map<string, Intl.NumberFormat>} kept, for making one takes far longer than using it */
const formats = new Map();

/**
 * @param {number} value
 * @param {number} [decimals] as many as needed, up to three, for a metric of the site's own
 */
export function number(value, decimals) {
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
