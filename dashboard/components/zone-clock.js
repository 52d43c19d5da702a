// From UTC to the local time of a zone and back. Times are milliseconds; a local time is written as if it were UTC.

import { local } from "../words/times.js";

const DAY = 86_400_000; // milliseconds

/**
 * The zone's offset from UTC.
 * @param {string} zone
 * @param {number} time
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
 * @param {string} zone
 * @param {number} localTime where it comes twice, the earlier one is meant
 */
export function instant(zone, localTime) {
  const guess = localTime - offset(zone, localTime - offset(zone, localTime));
  const earlier = localTime - offset(zone, guess - DAY);
  return earlier < guess && earlier + offset(zone, earlier) === localTime ? earlier : guess;
}
