// Derives the state and the times of an alarm.

/** @import { Alarm } from "../contract.js" */

/**
 * Return whether the alarm is open. A pending alarm is open too. The server has the same rule in `Alarm.is_open`.
 * @param {Alarm} alarm
 */
export function isOpen(alarm) {
  return alarm.cleared === null && alarm.state !== "cleared";
}

/**
 * Return whether the alarm was raised and is not cleared. The page counts and colours such alarms, and plays a sound.
 * @param {Alarm} alarm
 */
export function isActive(alarm) {
  return alarm.state === "active";
}

/**
 * Return the time of the alarm's first reading out of limits, or when the site's own system raised the alarm.
 * @param {Alarm} alarm
 * @returns {number} milliseconds
 */
export function startOf(alarm) {
  return Date.parse(alarm.since ?? alarm.raised);
}

/**
 * @param {Alarm} alarm
 * @param {number} now milliseconds; returned if the alarm is not cleared
 * @returns {number} milliseconds
 */
export function endOf(alarm, now) {
  return alarm.cleared === null ? now : Date.parse(alarm.cleared);
}
