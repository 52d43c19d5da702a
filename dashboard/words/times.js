// Ages, spans and times as a person reads them.

import { languageTag, translate } from "./translate.js";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** @param {number} seconds */
export function age(seconds) {
  if (seconds < 1) return translate("now"); // our clock and a sensor's may differ a little
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
 * A clock for one storehouse: the time there, with the day unless it is today, and the year unless it is this one.
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
 * The day and the minute.
 * @param {string} zone
 * @param {Date | number} instant
 */
export function dateTime(zone, instant) {
  return local(zone, { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" }).format(instant);
}

/**
 * The day, without its year where that is the one of `now`.
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

/** @type {Map<string, any>} kept, for making one takes far longer than using it */
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
 * The zone, or UTC where the browser does not know it.
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
