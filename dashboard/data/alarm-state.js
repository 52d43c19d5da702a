// Whether an alarm is over, and its times.

/** @import { Alarm } from "../contract.js" */

/**
 * Whether it is not over; a pending alarm is open, too. As `Alarm.is_open` of the server.
 * @param {Alarm} alarm
 */
export function isOpen(alarm) {
  return alarm.cleared === null && alarm.state !== "cleared";
}

/**
 * Whether it was raised and is not over: such alarms are counted, coloured and heard.
 * @param {Alarm} alarm
 */
export function isActive(alarm) {
  return alarm.state === "active";
}

/**
 * Its first reading out of limits; of a site's own alarm, when it was raised.
 * @param {Alarm} alarm
 * @returns {number} milliseconds
 */
export function startOf(alarm) {
  return Date.parse(alarm.since ?? alarm.raised);
}

/**
 * @param {Alarm} alarm
 * @param {number} now milliseconds: the end while it has none
 * @returns {number} milliseconds
 */
export function endOf(alarm, now) {
  return alarm.cleared === null ? now : Date.parse(alarm.cleared);
}
