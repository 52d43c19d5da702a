// What a person does with an alarm.

import { request } from "./socket.js";
import { learn } from "./watch.js";
import { person } from "./who.js";

/** @import { Alarm } from "../contract.js" */

/**
 * Throws Refused.
 * @param {Alarm} alarm
 * @param {string} comment
 */
export async function acknowledge(alarm, comment) {
  take(await request("ackAlarm", { alarm_id: alarm.alarm_id, comment, by: person.value }));
}

/**
 * Throws Refused.
 * @param {Alarm} alarm
 * @param {string} reason
 */
export async function close(alarm, reason) {
  take(await request("closeAlarm", { alarm_id: alarm.alarm_id, reason, by: person.value }));
}

/** @param {Alarm | null} answer */
function take(answer) {
  if (answer && "alarm_id" in answer) learn(answer);
}
