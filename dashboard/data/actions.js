// What a person does with an alarm.

import { signal } from "@preact/signals";
import { recall, remember } from "../memory.js";
import { request } from "./socket.js";
import { learn } from "./watch.js";

/** @import { Alarm } from "../contract.js" */

/** The name a person has given here: who does something stands in the alarm's record. */
export const person = signal(recall("localStorage", "person") ?? "");

/** @param {string} name */
export function introduce(name) {
  person.value = name;
  remember("localStorage", "person", name);
}

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
