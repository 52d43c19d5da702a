// Alarms of a longer past than the last day.

import { Refused, ask, connection } from "./socket.js";
import { now } from "./time.js";

/** @import { Alarm, Id } from "../contract.js" */

const MINUTE = 60_000; // milliseconds
const MAX_MINUTES = 527_040; // the server answers for no longer

/**
 * Those that were open, or raised, since then; newest first. Throws Refused.
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
 * Ask for them whenever the connection is there, and hand over the answer.
 * @param {Id} store_house_id
 * @param {number} since milliseconds
 * @param {(answer: {alarms: Alarm[] | null, refused: Refused | null}) => void} onAnswer
 * @returns {() => void} stops it
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
