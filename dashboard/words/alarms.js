// Alarms in words: the server tells codes and figures.

import { known, say } from "./say.js";
import { duration } from "./times.js";
import { inWords, measured } from "./values.js";

/** @import { Alarm } from "../contract.js" */

/**
 * What is wrong.
 * @param {Alarm} alarm
 * @param {string | null | undefined} unit
 */
export function whatIsWrong(alarm, unit) {
  // What it cleared with is within limits: an alarm that is over says how bad it was.
  const value = alarm.state === "cleared" ? (alarm.peak ?? alarm.value) : alarm.value;
  const parts = { kind: alarm.kind, value: figure(alarm, value, unit), limit: figure(alarm, alarm.limit, unit) };
  switch (alarm.kind) {
    case "high":
    case "low":
    case "rate":
      return say(alarm.limit === null ? `kind_${alarm.kind}` : `${alarm.kind}_limit`, parts);
    case "no_data":
      return say("kind_no_data");
    case "switch":
      return measured(alarm.metric ?? "", value, unit).value;
    default:
      return say("otherKind", parts); // the site's own word
  }
}

/**
 * A figure of an alarm, in the unit it has.
 * @param {Alarm} alarm
 * @param {number | null} value
 * @param {string | null | undefined} unit
 */
export function figure(alarm, value, unit) {
  if (alarm.kind === "no_data") return value === null ? "—" : duration(value);
  // How fast something changes is not in its own unit.
  return alarm.kind === "rate" ? inWords("", value, "") : inWords(alarm.metric ?? "", value, unit);
}

/** @param {Alarm} alarm */
export function stateInWords(alarm) {
  const word = `state_${alarm.state}`;
  const said = known(word) ? say(word) : alarm.state;
  return alarm.acknowledged && alarm.state !== "cleared" ? say("acknowledged", { state: said }) : said;
}
