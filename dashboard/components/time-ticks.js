// Computes the ticks of a time axis. They are at round local times of a time zone, even across clock changes. Times are
// in milliseconds.

import { instant, local, offset } from "../words/times.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MONDAY = 4 * DAY; // 1970-01-05

/** Steps of up to an hour, in elapsed time. Longer steps are in local time, so they may contain a clock change. */
const ELAPSED = [1, 2, 5, 10, 15, 30, 60].map((minutes) => minutes * MINUTE);
const LOCAL = [2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY];
const MONTHS = [1, 2, 3, 6, 12];

/**
 * @param {string} zone
 * @param {number} from
 * @param {number} to
 * @param {number} most maximum number of ticks
 * @returns {{times: number[], step: number}} `step` is the approximate time between two ticks
 */
export function ticks(zone, from, to, most) {
  const least = (to - from) / most;
  const elapsed = ELAPSED.find((step) => step >= least);
  if (elapsed) return { times: elapsedTicks(zone, from, to, elapsed), step: elapsed };
  const step = LOCAL.find((candidate) => candidate >= least);
  if (step) return { times: localTicks(zone, from, to, step), step };
  const months = MONTHS.find((count) => count * 30 * DAY >= least) ?? 12;
  return { times: monthTicks(zone, from, to, months), step: months * 30 * DAY };
}

/**
 * Return the label of each tick. It has a second line if the day, the year or the UTC offset changes.
 * @param {string} zone
 * @param {number[]} times
 * @param {number} step
 */
export function tickLabels(zone, times, step) {
  const [first, second] = parts(zone, step);
  return times.map((time, index) => {
    const before = times[index - 1];
    const lines = [first.format(time)];
    if (before === undefined || second.format(before) !== second.format(time)) lines.push(second.format(time));
    else if (step <= HOUR && offset(zone, before) !== offset(zone, time)) lines.push(clockName(zone, time));
    return lines.join("\n");
  });
}

/**
 * @param {string} zone
 * @param {number} step
 * @returns {[Intl.DateTimeFormat, Intl.DateTimeFormat]}
 */
function parts(zone, step) {
  const year = local(zone, { year: "numeric" });
  if (step < DAY) {
    return [
      local(zone, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
      local(zone, { month: "short", day: "numeric" }),
    ];
  }
  if (step < 28 * DAY) return [local(zone, { month: "short", day: "numeric" }), year];
  return [local(zone, { month: "short" }), year];
}

/**
 * @param {string} zone
 * @param {number} time
 */
export function clockName(zone, time) {
  const parts = local(zone, { timeZoneName: "short", hour: "numeric" }).formatToParts(time);
  return parts.find((part) => part.type === "timeZoneName")?.value ?? "";
}

/**
 * @param {string} zone
 * @param {number} from
 * @param {number} to
 * @param {number} step
 */
function elapsedTicks(zone, from, to, step) {
  const shift = offset(zone, from) % step;
  const times = [];
  for (let time = Math.ceil((from + shift) / step) * step - shift; time <= to; time += step) times.push(time);
  return times;
}

/**
 * @param {string} zone
 * @param {number} from
 * @param {number} to
 * @param {number} step
 */
function localTicks(zone, from, to, step) {
  const base = step === 7 * DAY ? MONDAY : 0;
  /** @type {number[]} */
  const times = [];
  let localTime = Math.floor((from + offset(zone, from) - base) / step) * step + base;
  for (let time = instant(zone, localTime); time <= to; time = instant(zone, (localTime += step))) {
    if (time >= from && time !== times.at(-1)) times.push(time);
  }
  return times;
}

/**
 * @param {string} zone
 * @param {number} from
 * @param {number} to
 * @param {number} months
 */
function monthTicks(zone, from, to, months) {
  const start = new Date(from + offset(zone, from));
  const times = [];
  let month = Math.floor(start.getUTCMonth() / months) * months;
  for (let time = from; time <= to; month += months) {
    time = instant(zone, Date.UTC(start.getUTCFullYear(), month, 1));
    if (time >= from && time <= to) times.push(time);
  }
  return times;
}
