// Describes alarms as text.

import { translate, translateCode } from "./translate.js";
import { duration } from "./times.js";
import { formatValue, valueAndUnit } from "./values.js";

/** @import { Alarm } from "../contract.js" */

/**
 * Describe what the alarm reports.
 * @param {Alarm} alarm
 * @param {string | undefined} unit
 */
export function describeAlarm(alarm, unit) {
  // The last value of a cleared alarm is within the limits, so its peak is shown.
  const value = alarm.state === "cleared" ? (alarm.peak ?? alarm.value) : alarm.value;
  const limit = formatAlarmValue(alarm, alarm.limit, unit);
  const parts = { value: formatAlarmValue(alarm, value, unit), limit };
  switch (alarm.kind) {
    case "high":
    case "low":
    case "rate":
      return translate(alarm.limit === null ? `kind_${alarm.kind}` : `${alarm.kind}_limit`, parts);
    case "no_data":
      return translate("kind_no_data");
    case "switch":
      return valueAndUnit(alarm.metric ?? "", value, unit).value;
    default: {
      const label = translateCode("alarm", alarm.kind);
      return value === null ? label : translate("labelled", { ...parts, label });
    }
  }
}

/**
 * Format a value, peak or limit of an alarm.
 * @param {Alarm} alarm
 * @param {number | null} value
 * @param {string | undefined} unit
 */
export function formatAlarmValue(alarm, value, unit) {
  if (alarm.kind === "no_data" || alarm.kind === "clock") return value === null ? "—" : duration(Math.abs(value));
  // A rate of change does not have the unit of the metric.
  return alarm.kind === "rate" ? formatValue("", value, "") : formatValue(alarm.metric ?? "", value, unit);
}

/** @param {Alarm} alarm */
export function alarmStateText(alarm) {
  const state = translateCode("state", alarm.state);
  return alarm.acknowledged && alarm.state !== "cleared" ? translate("acknowledged", { state }) : state;
}
