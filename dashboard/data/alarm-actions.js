// Acknowledges and closes alarms.

import { request } from "./socket.js";
import { personName } from "./user.js";
import { addAlarm } from "./watched-storehouse.js";

/** @import { Alarm } from "../contract.js" */

/**
 * Acknowledge an alarm. Throw `Refused` if the server refuses.
 * @param {Alarm} alarm
 * @param {string} comment
 */
export async function acknowledge(alarm, comment) {
  showAnswer(await request("ackAlarm", { alarm_id: alarm.alarm_id, comment, by: personName.value }));
}

/**
 * Close an alarm by hand. Throw `Refused` if the server refuses.
 * @param {Alarm} alarm
 * @param {string} reason
 */
export async function close(alarm, reason) {
  showAnswer(await request("closeAlarm", { alarm_id: alarm.alarm_id, reason, by: personName.value }));
}

/** @param {Alarm | null} answer */
function showAnswer(answer) {
  if (answer && "alarm_id" in answer) addAlarm(answer);
}
