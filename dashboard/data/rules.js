// The rules by which the server raises alarms, and a draft of a change to one of them.

import { refreshSensors } from "./sensors.js";
import { person } from "./actions.js";
import { ask, request } from "./socket.js";
import { now } from "./time.js";

/** @import { Id, Rule, RuleBook, RuleKind, Scope, Severity, Terms } from "../contract.js" */

const MINUTE = 60; // seconds
const MONTH = 30 * 86_400_000; // milliseconds
const UNITS = /** @type {Record<string, number>} */ ({ s: 1, m: MINUTE, h: 60 * MINUTE, d: 1440 * MINUTE });

/** Those whose limit is a value of the sensor, from the highest. */
export const LIMITS = /** @type {const} */ (["high_high", "high", "low", "low_low"]);

/** What a person says of one kind; `given`: a limit of its own, `off`: none, `general`: as a more general rule has it. */
/** @typedef {{mode: "general" | "off" | "given", limit: string, minutes: string, severity: Severity | ""}} Line */

/** @returns {Promise<RuleBook | undefined>} all rules, for saving some would drop the others */
export function loadRules() {
  return ask("queryRules", {});
}

/**
 * Throws Refused.
 * @param {Rule[]} rules all of them
 */
export async function saveRules(rules) {
  const saved = await request("saveRules", { rules, by: person.value });
  await refreshSensors();
  return saved;
}

/**
 * How many alarms there would have been here in the last month, and how many by the rules in force. Throws Refused.
 * @param {Id} store_house_id
 * @param {Rule[]} rules all of them
 */
export async function preview(store_house_id, rules) {
  const [start, end] = [now.peek() - MONTH, now.peek()].map((time) => new Date(time).toISOString());
  const { sensors } = await request("previewAlarms", { store_house_id, rules, start, end });
  const sum = (/** @type {"proposed" | "in_force"} */ whose) => sensors.reduce((all, one) => all + one[whose].count, 0);
  return { proposed: sum("proposed"), inForce: sum("in_force") };
}

/**
 * @param {Rule[]} rules
 * @param {Scope} scope
 * @returns {Rule | undefined} the one that speaks of just this
 */
export function ruleFor(rules, scope) {
  return rules.find((rule) => sameScope(rule.scope ?? {}, scope));
}

/**
 * All rules, with this one in the place of the one it changes; one that says nothing is dropped.
 * @param {Rule[]} rules
 * @param {Rule} rule
 */
export function withRule(rules, rule) {
  const says = Object.keys(rule).some((name) => name !== "scope");
  const others = rules.filter((one) => !sameScope(one.scope ?? {}, rule.scope ?? {}));
  return says ? [...others, rule] : others;
}

/**
 * @param {Rule | undefined} rule
 * @param {RuleKind} kind
 * @returns {Line}
 */
export function lineOf(rule, kind) {
  const said = rule?.[kind];
  if (said === undefined) return { mode: "general", limit: "", minutes: "", severity: "" };
  if (said === null) return { mode: "off", limit: "", minutes: "", severity: "" };
  const terms = termsOf(said);
  const minutes = terms.delay === undefined ? "" : String(seconds(terms.delay) / MINUTE);
  return { mode: "given", limit: String(terms.limit ?? ""), minutes, severity: terms.severity ?? "" };
}

/**
 * The rule with what a person says of its kinds; terms that nobody has touched stay as they are.
 * @param {Rule | undefined} before
 * @param {Scope} scope
 * @param {Partial<Record<RuleKind, Line>>} lines
 * @returns {Rule}
 */
export function drafted(before, scope, lines) {
  /** @type {Rule} */
  const rule = { ...before, scope };
  for (const [name, line] of Object.entries(lines)) {
    const kind = /** @type {RuleKind} */ (name);
    if (line.mode === "general") delete rule[kind];
    else if (line.mode === "off") rule[kind] = null;
    else rule[kind] = draftedTerms(termsOf(before?.[kind] ?? {}), line);
  }
  return rule;
}

/**
 * @param {Terms} before
 * @param {Line} line
 * @returns {Terms}
 */
function draftedTerms({ severity: _severity, delay: _delay, ...before }, line) {
  return {
    ...before,
    limit: Number(line.limit),
    ...(line.minutes === "" ? {} : { delay: Number(line.minutes) * MINUTE }),
    ...(line.severity === "" ? {} : { severity: line.severity }),
  };
}

/**
 * @param {Terms | number | string} said a bare number is short for its limit
 * @returns {Terms}
 */
function termsOf(said) {
  return typeof said === "object" ? said : { limit: Number(said) };
}

/** @param {number | string} span such as 90 or "45m" */
export function seconds(span) {
  const unit = typeof span === "string" ? UNITS[span.trim().slice(-1)] : undefined;
  return unit ? parseFloat(String(span)) * unit : Number(span);
}

/**
 * @param {Scope} one
 * @param {Scope} other
 */
function sameScope(one, other) {
  const names = /** @type {const} */ (["store_house_id", "sensor_id", "sensor_name", "metric"]);
  return names.every((name) => String(one[name] ?? "") === String(other[name] ?? ""));
}
