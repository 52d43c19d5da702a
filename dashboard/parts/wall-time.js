// What the clock on the wall of a zone shows, and when that is. Times are milliseconds; one of the wall as if it were UTC.

import { local } from "../words/times.js";

const DAY = 86_400_000; // milliseconds

/**
 * How far the zone's clock is ahead of UTC.
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
 * @param {number} wall of a repeated hour, the earlier
 */
export function instant(zone, wall) {
  const guess = wall - offset(zone, wall - offset(zone, wall));
  const earlier = wall - offset(zone, guess - DAY);
  return earlier < guess && earlier + offset(zone, earlier) === wall ? earlier : guess;
}
