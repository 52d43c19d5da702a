// Loads and saves alarm rules and maintenance, and drafts a changed rule.

import { refreshSensors } from "./sensors.js";
import { LONG_WITHIN, ask, request } from "./socket.js";
import { now } from "./time.js";
import { personName } from "./user.js";

/** @import { Bound, Id, Maintenance, Rule, Rules, SaveMaintenance, Scope } from "../contract.js" */
/** @import { RuleKind, RuleLine, Term } from "../types.js" */

const SECOND = 1_000; // milliseconds
const MINUTE = 60; // seconds
const MONTH = 30 * 86_400_000; // milliseconds
const SECONDS = /** @type {Record<string, number>} */ ({ s: 1, m: MINUTE, h: 60 * MINUTE, d: 1440 * MINUTE });
const SPAN_TERMS = ["delay", "clear_delay", "reopen", "within"];

/** The kinds of alarm whose limit is a value of the sensor, the highest first. */
export const LIMITS = /** @type {const} */ (["high_high", "high", "low", "low_low"]);

const TERMS = /** @type {Term[]} */ (["limit", "severity", "hysteresis", ...SPAN_TERMS]);

/** @returns {Promise<Rules | undefined>} all rules, because saving replaces all of them */
export function loadRules() {
  return ask("queryRules", {});
}

/**
 * Save all rules. Throw `Refused` if the server refuses. Its code is `conflict` if somebody has saved rules since
 * `revision`.
 * @param {Rule[]} rules
 * @param {number | undefined} revision
 */
export async function saveRules(rules, revision) {
  const saved = await request("saveRules", { rules, revision, by: personName.value });
  await refreshSensors();
  return saved;
}

/**
 * Add maintenance, or change the maintenance with `maintenance_id`. Throw `Refused` if the server refuses.
 * @param {Omit<SaveMaintenance, "by">} maintenance
 */
export function saveMaintenance(maintenance) {
  return request("saveMaintenance", { ...maintenance, by: personName.value });
}

/**
 * End maintenance now, even if it has not started. Throw `Refused` if the server refuses.
 * @param {Maintenance} maintenance
 * @param {string} reason if empty, the reason does not change
 */
export function endMaintenance(maintenance, reason) {
  const end = now.peek();
  const start = Math.min(Date.parse(maintenance.start), end - SECOND);
  return saveMaintenance({ ...maintenance, start: iso(start), end: iso(end), reason: reason || maintenance.reason });
}

/**
 * Count the alarms of the last month with `rules`, and with the rules in force. Throw `Refused` if the server refuses.
 * @param {Id} store_house_id
 * @param {Rule[]} rules
 */
export async function preview(store_house_id, rules) {
  const span = { start: iso(now.peek() - MONTH), end: iso(now.peek()) };
  const { sensors } = await request("previewAlarms", { store_house_id, rules, ...span }, LONG_WITHIN);
  const sum = (/** @type {"proposed" | "in_force"} */ whose) =>
    sensors.reduce((total, kind) => total + kind[whose].count, 0);
  return { proposed: sum("proposed"), inForce: sum("in_force") };
}

/**
 * @param {Rule[]} rules
 * @param {Scope} scope
 * @returns {Rule | undefined} the rule with exactly this scope
 */
export function ruleFor(rules, scope) {
  return rules.find((rule) => sameScope(rule.scope ?? {}, scope));
}

/**
 * Replace the rule that has the same scope as `rule`. If `rule` has no limit and no profile, remove it.
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
 * Return the rule with the values from the form. Unchanged values keep their notation, such as "1h".
 * @param {Rule | undefined} before
 * @param {Scope} scope
 * @param {string} profile empty for no profile
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
 * Return the terms of a limit as the form shows them.
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
 * @param {Bound | number | string} bound a number or text is short for a bound with only a limit
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
