// Values, ages and times as a person reads them.

import { known, languageTag, say } from "./words.js";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

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

/**
 * A value in two parts, for the unit is written smaller. A switch is a word and has no unit.
 * @param {string} metric
 * @param {number | null} value
 * @param {string | null} [unit]
 * @returns {{value: string, unit: string}}
 */
export function measured(metric, value, unit) {
  if (value === null) return { value: "—", unit: "" };
  const position = `${metric}${value}`;
  if (!unit && known(position)) return { value: say(position), unit: "" };
  const format = Object.hasOwn(METRICS, metric) ? METRICS[metric] : undefined;
  return { value: number(value, format?.decimals), unit: unit ?? format?.unit ?? "" };
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

/**
 * @param {number} value
 * @param {number} [decimals] as many as needed, up to three, for a metric of the site's own
 */
function number(value, decimals) {
  return new Intl.NumberFormat(languageTag(), {
    minimumFractionDigits: decimals ?? 0,
    maximumFractionDigits: decimals ?? 3,
    signDisplay: "negative", // never -0.0
  }).format(value);
}

/** @param {number} seconds */
export function age(seconds) {
  if (seconds < 1) return say("now"); // our clock and a sensor's may differ a little
  const format = new Intl.RelativeTimeFormat(languageTag(), { style: "short" });
  if (seconds < 2 * MINUTE) return format.format(-Math.floor(seconds), "second");
  if (seconds < 2 * HOUR) return format.format(-Math.floor(seconds / MINUTE), "minute");
  if (seconds < 2 * DAY) return format.format(-Math.floor(seconds / HOUR), "hour");
  return format.format(-Math.floor(seconds / DAY), "day");
}

/**
 * A clock for one storehouse: the time there, with the day unless it is today, and the year unless it is this one.
 * @param {string} zone
 * @param {number} now milliseconds since the epoch
 * @returns {(time: string) => string}
 */
export function clock(zone, now) {
  const year = formatter(zone, { year: "numeric" });
  const day = formatter(zone, { month: "short", day: "numeric" });
  const date = formatter(zone, { dateStyle: "medium" });
  const hour = formatter(zone, { timeStyle: "medium", hourCycle: "h23" });
  return (time) => {
    const instant = new Date(time);
    if (Number.isNaN(instant.getTime())) return time;
    if (date.format(instant) === date.format(now)) return hour.format(instant);
    const shortest = year.format(instant) === year.format(now) ? day : date;
    return `${shortest.format(instant)} ${hour.format(instant)}`;
  };
}

/** @type {Map<string, Intl.DateTimeFormat>} kept, for making one takes far longer than using it */
const formatters = new Map();

/**
 * @param {string} zone
 * @param {Intl.DateTimeFormatOptions} parts
 */
function formatter(zone, parts) {
  const key = JSON.stringify([languageTag(), zone, parts]);
  const format =
    formatters.get(key) ?? new Intl.DateTimeFormat(languageTag(), { ...parts, timeZone: knownZone(zone) });
  formatters.set(key, format);
  return format;
}

/**
 * The zone, or UTC where the browser does not know it.
 * @param {string} zone
 */
export function knownZone(zone) {
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return zone;
  } catch {
    return "UTC";
  }
}
