// Formats ages, durations and times as text, and converts local times of time zones.

import { languageTag, translate } from "./translate.js";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** @param {number} seconds */
export function age(seconds) {
  if (seconds < 1) return translate("now"); // the clocks of the server and the sensor may differ a little
  const [count, unit] = inUnits(seconds);
  return relative().format(-count, unit);
}

/** @param {number} seconds */
export function duration(seconds) {
  const [count, unit] = inUnits(Math.max(0, seconds));
  return formatter("number", { style: "unit", unit, unitDisplay: "short" }, Intl.NumberFormat).format(count);
}

/**
 * @param {number} seconds
 * @returns {[number, "second" | "minute" | "hour" | "day"]}
 */
function inUnits(seconds) {
  if (seconds < 2 * MINUTE) return [Math.floor(seconds), "second"];
  if (seconds < 2 * HOUR) return [Math.floor(seconds / MINUTE), "minute"];
  if (seconds < 2 * DAY) return [Math.floor(seconds / HOUR), "hour"];
  return [Math.floor(seconds / DAY), "day"];
}

/**
 * Return a function that formats times in the time zone `zone`. The text contains the day if it is not today, and the
 * year if it is not this year.
 * @param {string} zone
 * @param {number} now milliseconds since the epoch
 * @returns {(time: string) => string}
 */
export function clock(zone, now) {
  return (time) => {
    const instant = new Date(time);
    if (Number.isNaN(instant.getTime())) return time;
    if (day(zone, instant) === day(zone, now)) return timeOfDay(zone, instant);
    return `${day(zone, instant, now)} ${timeOfDay(zone, instant)}`;
  };
}

/**
 * @param {string} zone
 * @param {Date | number} instant
 */
export function timeOfDay(zone, instant) {
  return local(zone, { timeStyle: "medium", hourCycle: "h23" }).format(instant);
}

/**
 * Format the day and the time, to the minute.
 * @param {string} zone
 * @param {Date | number} instant
 */
export function dateTime(zone, instant) {
  return local(zone, { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" }).format(instant);
}

/**
 * Format the day, without the year if it is the year of `now`.
 * @param {string} zone
 * @param {Date | number} instant
 * @param {number} [now]
 */
export function day(zone, instant, now) {
  const year = local(zone, { year: "numeric" });
  if (now !== undefined && year.format(instant) === year.format(now)) {
    return local(zone, { month: "short", day: "numeric" }).format(instant);
  }
  return local(zone, { dateStyle: "medium" }).format(instant);
}

/**
 * @param {string} zone
 * @param {Intl.DateTimeFormatOptions} parts
 */
export function local(zone, parts) {
  return formatter("time", { ...parts, timeZone: usableZone(zone) }, Intl.DateTimeFormat);
}

function relative() {
  return formatter("relative", { style: "short" }, Intl.RelativeTimeFormat);
}

/** @type {Map<string, any>} cached, because creating a formatter is far slower than using it */
const formatters = new Map();

/**
 * @template Options, Format
 * @param {string} kind
 * @param {Options} options
 * @param {new (tag: string, options: Options) => Format} Maker
 * @returns {Format}
 */
function formatter(kind, options, Maker) {
  const key = `${kind} ${languageTag.value} ${JSON.stringify(options)}`;
  const format = formatters.get(key) ?? new Maker(languageTag.value, options);
  formatters.set(key, format);
  return format;
}

/** @type {Map<string, string>} */
const zones = new Map();

/**
 * Return the time zone, or UTC if the browser does not know the zone.
 * @param {string} zone
 */
export function usableZone(zone) {
  const usable = zones.get(zone) ?? zoneOrUtc(zone);
  zones.set(zone, usable);
  return usable;
}

/** @param {string} zone */
function zoneOrUtc(zone) {
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return zone;
  } catch {
    return "UTC";
  }
}

/**
 * Return the time zone's offset from UTC, in milliseconds.
 * @param {string} zone
 * @param {number} time milliseconds
 */
export function offset(zone, time) {
  const whole = Math.floor(time / 1000) * 1000;
  const fields = { year: 0, month: 0, day: 0, hour: 0, minute: 0, second: 0 };
  const format = local(zone, {
    calendar: "gregory",
    numberingSystem: "latn",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
    hourCycle: "h23",
  });
  for (const { type, value } of format.formatToParts(whole)) {
    if (type in fields) fields[/** @type {keyof typeof fields} */ (type)] = Number(value);
  }
  const { year, month, day, hour, minute, second } = fields;
  return Date.UTC(year, month - 1, day, hour, minute, second) - whole;
}

/**
 * Convert a local time to an instant, in milliseconds.
 * @param {string} zone
 * @param {number} localTime the local time as if it were UTC; in a repeated hour it means the earlier instant
 */
export function instant(zone, localTime) {
  const guess = localTime - offset(zone, localTime - offset(zone, localTime));
  const earlier = localTime - offset(zone, guess - 1000 * DAY);
  return earlier < guess && earlier + offset(zone, earlier) === localTime ? earlier : guess;
}
