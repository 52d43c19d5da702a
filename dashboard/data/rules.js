// The rules by which the server raises alarms, and a draft of a change to one of them.

import { refreshSensors } from "./sensors.js";
import { ask, request } from "./socket.js";
import { now } from "./time.js";
import { person } from "./who.js";

/** @import { Id, Maintenance, Rule, RuleBook, RuleKind, Scope, Terms } from "../contract.js" */

const SECOND = 1_000; // milliseconds
const MINUTE = 60; // seconds
const MONTH = 30 * 86_400_000; // milliseconds
const PREVIEW_WITHIN = 90_000; // milliseconds; where every reading must be read, the server gives up after 60 s
const UNITS = /** @type {Record<string, number>} */ ({ s: 1, m: MINUTE, h: 60 * MINUTE, d: 1440 * MINUTE });
const SPANS = ["delay", "clear_delay", "reopen", "within"];

/** Those whose limit is a value of the sensor, from the highest. */
export const LIMITS = /** @type {const} */ (["high_high", "high", "low", "low_low"]);

/** @typedef {keyof Terms} Term */
const TERMS = /** @type {Term[]} */ (["limit", "severity", "hysteresis", ...SPANS]);

/**
 * What a person says of one kind. `given`: terms of its own, as they are written, spans in minutes; `off`: no alarm;
 * `general`: as a more general rule has it.
 * @typedef {{mode: "general" | "off" | "given", terms: Record<Term, string>}} Line
 */

/** @returns {Promise<RuleBook | undefined>} all rules, for saving some would drop the others */
export function loadRules() {
  return ask("queryRules", {});
}

/**
 * Throws Refused; of the field `revision`, where somebody has saved others since these were asked for.
 * @param {Rule[]} rules all of them
 * @param {number | undefined} revision
 */
export async function saveRules(rules, revision) {
  const saved = await request("saveRules", { rules, revision, by: person.value });
  await refreshSensors();
  return saved;
}

/**
 * Nobody is to be disturbed from `start` to `end`; with `maintenance_id`, instead of then. Throws Refused.
 * @param {Partial<Maintenance>} maintenance
 */
export function saveMaintenance(maintenance) {
  return request("saveMaintenance", { ...maintenance, by: person.value });
}

/**
 * End it now; one that has not begun is over, too. Throws Refused.
 * @param {Maintenance} maintenance
 * @param {string} reason empty: as it was
 */
export function endMaintenance(maintenance, reason) {
  const end = now.peek();
  const start = Math.min(Date.parse(maintenance.start), end - SECOND);
  const [from, to] = [start, end].map((time) => new Date(time).toISOString());
  return saveMaintenance({ ...maintenance, start: from, end: to, reason: reason || maintenance.reason });
}

/**
 * How many alarms there would have been here in the last month, and how many by the rules in force. Throws Refused.
 * @param {Id} store_house_id
 * @param {Rule[]} rules all of them
 */
export async function preview(store_house_id, rules) {
  const [start, end] = [now.peek() - MONTH, now.peek()].map((time) => new Date(time).toISOString());
  const { sensors } = await request("previewAlarms", { store_house_id, rules, start, end }, PREVIEW_WITHIN);
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
  const mode = said === undefined ? "general" : said === null ? "off" : "given";
  return { mode, terms: written(kind, termsOf(said ?? {})) };
}

/**
 * The rule with what a person says of its kinds; terms that nobody has touched stay as they are.
 * @param {Rule | undefined} before
 * @param {Scope} scope
 * @param {string} profile empty: none
 * @param {Partial<Record<RuleKind, Line>>} lines
 * @returns {Rule}
 */
export function drafted(before, scope, profile, lines) {
  /** @type {Rule} */
  const rule = { ...before, scope };
  if (profile) rule.profile = profile;
  else delete rule.profile;
  for (const [name, line] of Object.entries(lines)) {
    const kind = /** @type {RuleKind} */ (name);
    if (line.mode === "general") delete rule[kind];
    else if (line.mode === "off") rule[kind] = null;
    else rule[kind] = draftedTerms(kind, termsOf(before?.[kind] ?? {}), line);
  }
  return rule;
}

/**
 * @param {RuleKind} kind
 * @param {Terms} before
 * @param {Line} line
 * @returns {Terms}
 */
function draftedTerms(kind, before, line) {
  const untouched = written(kind, before);
  const changed = TERMS.filter((term) => line.terms[term] !== untouched[term]);
  const terms = Object.entries(before).filter(([term]) => !changed.includes(/** @type {Term} */ (term)));
  const given = changed.filter((term) => line.terms[term] !== "");
  return Object.fromEntries([...terms, ...given.map((term) => [term, meant(kind, term, line.terms[term])])]);
}

/**
 * @param {RuleKind} kind
 * @param {Term} term
 * @param {string} text
 */
function meant(kind, term, text) {
  if (term === "severity") return text;
  return Number(text) * (isSpan(kind, term) ? MINUTE : 1);
}

/**
 * The terms as a person reads and writes them.
 * @param {RuleKind} kind
 * @param {Terms} terms
 * @returns {Record<Term, string>}
 */
function written(kind, terms) {
  const text = (/** @type {Term} */ term) => {
    const value = terms[term];
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
  return SPANS.includes(term) || (kind === "no_data" && term === "limit");
}

/**
 * @param {Terms | number | string} said a bare limit is short for the terms that have no other
 * @returns {Terms}
 */
function termsOf(said) {
  return typeof said === "object" ? said : { limit: said };
}

/** @param {number | string} span such as 90 or "45m" */
function seconds(span) {
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
