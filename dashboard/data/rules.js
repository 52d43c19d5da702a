// The rules by which the server raises alarms, and a draft of a change to one of them.

import { refreshSensors } from "./sensors.js";
import { ask, request } from "./socket.js";
import { now } from "./time.js";
import { personName } from "./user.js";

/** @import { Bound, Id, Maintenance, Rule, Rules, SaveMaintenance, Scope } from "../contract.js" */
/** @import { RuleKind, RuleLine, Term } from "../types.js" */

const SECOND = 1_000; // milliseconds
const MINUTE = 60; // seconds
const MONTH = 30 * 86_400_000; // milliseconds
const PREVIEW_WITHIN = 90_000; // milliseconds; where every reading must be read, the server gives up after 60 s
const SECONDS = /** @type {Record<string, number>} */ ({ s: 1, m: MINUTE, h: 60 * MINUTE, d: 1440 * MINUTE });
const SPAN_TERMS = ["delay", "clear_delay", "reopen", "within"];

/** Those whose limit is a value of the sensor, from the highest. */
export const LIMITS = /** @type {const} */ (["high_high", "high", "low", "low_low"]);

const TERMS = /** @type {Term[]} */ (["limit", "severity", "hysteresis", ...SPAN_TERMS]);

/** @returns {Promise<Rules | undefined>} all rules, for saving some would drop the others */
export function loadRules() {
  return ask("queryRules", {});
}

/**
 * Throws Refused; of the field `revision`, where somebody has saved others since these were asked for.
 * @param {Rule[]} rules all of them
 * @param {number | undefined} revision
 */
export async function saveRules(rules, revision) {
  const saved = await request("saveRules", { rules, revision, by: personName.value });
  await refreshSensors();
  return saved;
}

/**
 * Notify nobody from `start` to `end`; with `maintenance_id`, change that maintenance. Throws Refused.
 * @param {Omit<SaveMaintenance, "by">} maintenance
 */
export function saveMaintenance(maintenance) {
  return request("saveMaintenance", { ...maintenance, by: personName.value });
}

/**
 * End it now, also one that has not begun. Throws Refused.
 * @param {Maintenance} maintenance
 * @param {string} reason empty: as it was
 */
export function endMaintenance(maintenance, reason) {
  const end = now.peek();
  const start = Math.min(Date.parse(maintenance.start), end - SECOND);
  return saveMaintenance({ ...maintenance, start: iso(start), end: iso(end), reason: reason || maintenance.reason });
}

/**
 * How many alarms there would have been here in the last month, and how many by the rules in force. Throws Refused.
 * @param {Id} store_house_id
 * @param {Rule[]} rules all of them
 */
export async function preview(store_house_id, rules) {
  const span = { start: iso(now.peek() - MONTH), end: iso(now.peek()) };
  const { sensors } = await request("previewAlarms", { store_house_id, rules, ...span }, PREVIEW_WITHIN);
  const sum = (/** @type {"proposed" | "in_force"} */ whose) =>
    sensors.reduce((total, kind) => total + kind[whose].count, 0);
  return { proposed: sum("proposed"), inForce: sum("in_force") };
}

/**
 * @param {Rule[]} rules
 * @param {Scope} scope
 * @returns {Rule | undefined} the one with exactly this scope
 */
export function ruleFor(rules, scope) {
  return rules.find((rule) => sameScope(rule.scope ?? {}, scope));
}

/**
 * All rules, with this one instead of the one with its scope; one that sets nothing is dropped.
 * @param {Rule[]} rules
 * @param {Rule} rule
 */
export function withRule(rules, rule) {
  const setsAnything = Object.keys(rule).some((name) => name !== "scope");
  const others = rules.filter((other) => !sameScope(other.scope ?? {}, rule.scope ?? {}));
  return setsAnything ? [...others, rule] : others;
}

/**
 * @param {Rule | undefined} rule
 * @param {RuleKind} kind
 * @returns {RuleLine}
 */
export function lineOf(rule, kind) {
  const bound = rule?.[kind];
  const mode = bound === undefined ? "general" : bound === null ? "off" : "given";
  return { mode, terms: termTexts(kind, boundOf(bound ?? {})) };
}

/**
 * The rule with what a person has entered for its kinds; terms that were not changed stay as they are.
 * @param {Rule | undefined} before
 * @param {Scope} scope
 * @param {string} profile empty: none
 * @param {Partial<Record<RuleKind, RuleLine>>} lines
 * @returns {Rule}
 */
export function draftRule(before, scope, profile, lines) {
  /** @type {Rule} */
  const rule = { ...before, scope };
  if (profile) rule.profile = /** @type {Rule["profile"]} */ (profile);
  else delete rule.profile;
  for (const [name, line] of Object.entries(lines)) {
    const kind = /** @type {RuleKind} */ (name);
    if (line.mode === "general") delete rule[kind];
    else if (line.mode === "off") rule[kind] = null;
    else rule[kind] = draftBound(kind, boundOf(before?.[kind] ?? {}), line);
  }
  return rule;
}

/**
 * @param {RuleKind} kind
 * @param {Bound} before
 * @param {RuleLine} line
 * @returns {Bound}
 */
function draftBound(kind, before, line) {
  const textsBefore = termTexts(kind, before);
  const changed = TERMS.filter((term) => line.terms[term] !== textsBefore[term]);
  const unchanged = Object.entries(before).filter(([term]) => !changed.includes(/** @type {Term} */ (term)));
  const entered = changed.filter((term) => line.terms[term] !== "");
  return Object.fromEntries([...unchanged, ...entered.map((term) => [term, parseTerm(kind, term, line.terms[term])])]);
}

/**
 * @param {RuleKind} kind
 * @param {Term} term
 * @param {string} text
 */
function parseTerm(kind, term, text) {
  if (term === "severity") return text;
  return Number(text) * (isSpan(kind, term) ? MINUTE : 1);
}

/**
 * The terms as a person reads and writes them.
 * @param {RuleKind} kind
 * @param {Bound} bound
 * @returns {Record<Term, string>}
 */
function termTexts(kind, bound) {
  const text = (/** @type {Term} */ term) => {
    const value = bound[term];
    if (value === undefined || value === null) return "";
    return String(isSpan(kind, term) ? seconds(value) / MINUTE : value);
  };
  return /** @type {Record<Term, string>} */ (Object.fromEntries(TERMS.map((term) => [term, text(term)])));
}

/**
 * @param {RuleKind} kind
 * @param {Term} term
 */
function isSpan(kind, term) {
  return SPAN_TERMS.includes(term) || (kind === "no_data" && term === "limit");
}

/**
 * @param {Bound | number | string} bound a limit alone is short for a bound with no other terms
 * @returns {Bound}
 */
function boundOf(bound) {
  return typeof bound === "object" ? bound : { limit: bound };
}

/** @param {number | string} span such as 90 or "45m" */
function seconds(span) {
  const unit = typeof span === "string" ? SECONDS[span.trim().slice(-1)] : undefined;
  return unit ? parseFloat(String(span)) * unit : Number(span);
}

/**
 * @param {Scope} first
 * @param {Scope} second
 */
function sameScope(first, second) {
  const names = /** @type {const} */ (["store_house_id", "sensor_id", "sensor_name", "metric"]);
  return names.every((name) => String(first[name] ?? "") === String(second[name] ?? ""));
}

/** @param {number} time milliseconds */
function iso(time) {
  return new Date(time).toISOString();
}
