// Alarms as text: the server sends codes and numbers.

import { translate, translateCode } from "./translate.js";
import { duration } from "./times.js";
import { formatValue, valueAndUnit } from "./values.js";

/** @import { Alarm } from "../contract.js" */

/**
 * What is wrong, as text.
 * @param {Alarm} alarm
 * @param {string | undefined} unit
 */
export function describeAlarm(alarm, unit) {
  // The last value of an alarm that is over is within limits: its peak says how bad it was.
  const value = alarm.state === "cleared" ? (alarm.peak ?? alarm.value) : alarm.value;
  const limit = formatAlarmValue(alarm, alarm.limit, unit);
  const parts = { kind: alarm.kind, value: formatAlarmValue(alarm, value, unit), limit };
  switch (alarm.kind) {
    case "high":
    case "low":
    case "rate":
      return translate(alarm.limit === null ? `kind_${alarm.kind}` : `${alarm.kind}_limit`, parts);
    case "no_data":
      return translate("kind_no_data");
    case "switch":
      return valueAndUnit(alarm.metric ?? "", value, unit).value;
    default:
      return translate("otherKind", parts); // the site's own word
  }
}

/**
 * A value, peak or limit of an alarm.
 * @param {Alarm} alarm
 * @param {number | null} value
 * @param {string | undefined} unit
 */
export function formatAlarmValue(alarm, value, unit) {
  if (alarm.kind === "no_data") return value === null ? "—" : duration(value);
  // A rate is not in the unit of its metric.
  return alarm.kind === "rate" ? formatValue("", value, "") : formatValue(alarm.metric ?? "", value, unit);
}

/** @param {Alarm} alarm */
export function alarmStateText(alarm) {
  const state = translateCode("state", alarm.state);
  return alarm.acknowledged && alarm.state !== "cleared" ? translate("acknowledged", { state }) : state;
}
