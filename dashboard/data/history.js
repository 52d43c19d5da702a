// Loads past readings and alarms.

import { ask, connection, Refused } from "./socket.js";
import { now } from "./time.js";

/** @import { Alarm, History, Id } from "../contract.js" */

const MINUTE = 60_000; // milliseconds
const MAX_MINUTES = 527_040; // the server's limit: 366 days

/**
 * Return the readings of one sensor, or by default of all sensors, in buckets. Throw `Refused` if the server refuses.
 * @param {Id} store_house_id
 * @param {number} start milliseconds
 * @param {number} end milliseconds
 * @param {number} points maximum number of points for each sensor
 * @param {{sensor_id?: Id, wanted?: () => boolean}} [options]
 * @returns {Promise<History | null>} null if the server has no history, or if the answer is no longer wanted
 */
export async function readingHistory(store_house_id, start, end, points, { sensor_id, wanted } = {}) {
  const question = { store_house_id, start: iso(start), end: iso(end), points: Math.round(points) };
  try {
    return (await ask("queryEnvs", sensor_id === undefined ? question : { ...question, sensor_id }, wanted)) ?? null;
  } catch (error) {
    if (error instanceof Refused && error.code === "unknown_event") return null;
    throw error;
  }
}

/** @param {number} time */
function iso(time) {
  return new Date(time).toISOString();
}

/**
 * Return the alarms that were open at `since` or have been raised since, newest first. Throw `Refused` if the server
 * refuses.
 * @param {Id} store_house_id
 * @param {number} since milliseconds
 * @param {() => boolean} wanted
 * @returns {Promise<Alarm[] | undefined>}
 */
export function alarmsSince(store_house_id, since, wanted) {
  const minutes = Math.ceil((now.peek() - since) / MINUTE) + 1;
  return ask("queryAlarms", { store_house_id, data_minute: Math.max(1, Math.min(MAX_MINUTES, minutes)) }, wanted);
}

/**
 * Load the alarms now and after each reconnect, and call `onAnswer` with each answer.
 * @param {Id} store_house_id
 * @param {number} since milliseconds
 * @param {(answer: {alarms: Alarm[] | null, refused: Refused | null}) => void} onAnswer
 * @returns {() => void} call it to stop
 */
export function followAlarmHistory(store_house_id, since, onAnswer) {
  let turn = 0;
  const stop = connection.subscribe((state) => {
    const mine = ++turn;
    if (state !== "connected") return;
    alarmsSince(store_house_id, since, () => mine === turn).then(
      (alarms) => alarms && onAnswer({ alarms, refused: null }),
      (error) => onAnswer({ alarms: null, refused: error }),
    );
  });
  return () => {
    turn += 1;
    stop();
  };
}
