// The alarms of the last day.

import { make, write } from "./elements.js";
import { clock, inWords } from "./formats.js";
import { known, say } from "./words.js";

/** @import { Alarm, Env } from "./contract.js" */

// More than a person reads; thousands would only make the page slow. The line above the list says how many there are.
const SHOWN = 200;

/**
 * @param {Element} list
 * @param {Alarm[]} alarms newest first
 * @param {Env[]} envs the readings, for their units
 * @param {string} zone
 * @param {number} now
 */
export function showAlarms(list, alarms, envs, zone, now) {
  const local = clock(zone, now);
  const units = new Map(envs.map((env) => [JSON.stringify([env.sensor_id, env.metric]), env.unit]));
  const items = alarms
    .slice(0, SHOWN)
    .map((alarm) => item(alarm, units.get(JSON.stringify([alarm.sensor_id, alarm.metric])), zone, local));
  list.replaceChildren(...items);
}

/**
 * @param {Element} line
 * @param {Alarm[]} alarms
 * @param {boolean} complete
 */
export function summarise(line, alarms, complete) {
  const open = alarms.filter((alarm) => alarm.state === "active").length;
  const parts = [];
  if (!complete) parts.push(say("loading"));
  else if (alarms.length === 0) parts.push(say("noAlarms"));
  if (open > 0) parts.push(say("openAlarms", { count: open }));
  if (alarms.length > SHOWN) parts.push(say("newestAlarms", { shown: SHOWN, count: alarms.length }));
  write(line, parts.join(" · "));
}

/**
 * @param {Alarm} alarm
 * @param {string | null | undefined} unit
 * @param {string} zone
 * @param {(time: string) => string} local
 */
function item(alarm, unit, zone, local) {
  const severity = make("span", "severity", known(alarm.severity) ? say(alarm.severity) : alarm.severity);
  severity.dataset.severity = alarm.severity;
  const element = make(
    "li",
    "alarm",
    severity,
    make("span", "name", alarm.sensor_name),
    make("span", "what", what(alarm, unit)),
    make("span", "state", state(alarm)),
    make("span", "when", when(alarm, zone, local)),
  );
  element.dataset.state = alarm.state;
  return element;
}

/**
 * @param {Alarm} alarm
 * @param {string | null | undefined} unit
 */
function what(alarm, unit) {
  // How fast something changes is not in its own unit.
  const [metric, its] = alarm.kind === "rate" ? ["", ""] : [alarm.metric, unit];
  const parts = {
    kind: alarm.kind,
    value: inWords(metric, alarm.value, its),
    limit: inWords(metric, alarm.limit, its),
  };
  switch (alarm.kind) {
    case "high":
    case "low":
    case "rate":
    case "no_data":
    case "switch":
      return say(alarm.kind, parts);
    default:
      return say("otherKind", parts); // the site's own word
  }
}

/** @param {Alarm} alarm */
function state(alarm) {
  const word = say(alarm.state);
  return alarm.acknowledged ? say("acknowledged", { state: word }) : word;
}

/**
 * @param {Alarm} alarm
 * @param {string} zone
 * @param {(time: string) => string} local
 */
function when(alarm, zone, local) {
  const raised = local(alarm.raised);
  if (alarm.cleared === null) return say("since", { raised });
  const cleared = clock(zone, Date.parse(alarm.raised))(alarm.cleared); // the same day is not named twice
  return say("fromTo", { raised, cleared });
}
