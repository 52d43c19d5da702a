// The form of one rule, with the limits for each kind of alarm.

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { LIMITS, draftRule, lineOf, preview, ruleFor, saveRules, withRule } from "../data/rules.js";
import { sensorOf } from "../data/sensors.js";
import { SEVERITIES } from "../data/severity.js";
import { offers } from "../data/socket.js";
import { may } from "../data/user.js";
import { describeLimits } from "../components/reading.js";
import { ErrorText, NameField, onText, useAttempt } from "../components/form.js";
import { translateCode, translate } from "../words/translate.js";
import { isSwitch, valueAndUnit, unitOf } from "../words/values.js";

/** @import { Env, Rules } from "../contract.js" */
/** @import { RuleKind, RuleLine, RuleSubject, Term } from "../types.js" */

const MILDEST_FIRST = SEVERITIES.toReversed();
const MODES = /** @type {const} */ (["general", "given", "off"]);

/**
 * Return the kinds of alarm that a rule can set. A rule for a whole storehouse has no limits for values.
 * @param {Env | null} example
 * @returns {RuleKind[]}
 */
function kindsOf(example) {
  if (!example) return ["no_data"];
  if (isSwitch(example.metric, example.unit)) return ["switch", "no_data"];
  return sensorOf(example)?.interval_s === null ? [...LIMITS, "no_data"] : [...LIMITS, "rate", "no_data"];
}

/**
 * @param {{book: Rules, subject: RuleSubject, note: string, saved: (book: Rules) => void, reload: () => void}} props
 *   `note` is the message shown at first
 */
export function RuleEditor({ book, subject, note, saved, reload }) {
  const { scope, example } = subject;
  const before = ruleFor(book.rules, scope);
  const kinds = kindsOf(example);
  const [profile, setProfile] = useState(before?.profile ?? "");
  const [lines, setLines] = useState(
    /** @returns {Partial<Record<RuleKind, RuleLine>>} */
    () => Object.fromEntries(kinds.map((kind) => [kind, lineOf(before, kind)])),
  );
  const [message, setMessage] = useState(note);
  const { attempt, busy, refused } = useAttempt();
  const limits = example && !isSwitch(example.metric, example.unit) && sensorOf(example)?.limits;
  const draft = () => withRule(book.rules, draftRule(before, scope, profile, lines));

  const save = (/** @type {Event} */ event) => {
    event.preventDefault();
    setMessage("");
    attempt(async () => saved(await saveRules(draft(), book.revision)));
  };
  const tryRule = () => {
    setMessage("");
    attempt(async () => setMessage(translate("previewResult", await preview(scope.store_house_id ?? "", draft()))));
  };

  // After a change in the form, the message no longer applies.
  return html`<form class="panel" onSubmit=${save} onInput=${() => setMessage("")}>
    ${limits && html`<p class="quiet">${translate("currentLimits", { limits: describeLimits(example, limits) })}</p>`}
    <${Profile} all=${Object.keys(book.profiles)} value=${profile} change=${setProfile} />
    ${kinds.map(
      (kind) =>
        html`<${KindLine}
          key=${kind}
          kind=${kind}
          example=${example}
          line=${lines[kind]}
          change=${(/** @type {RuleLine} */ line) => setLines({ ...lines, [kind]: line })}
        />`,
    )}
    ${offers("saveRules") &&
    may("configure") &&
    html`<p class="buttons">
      <${NameField} />
      ${offers("previewAlarms") && html`<button type="button" disabled=${busy} onClick=${tryRule}>${translate("preview")}</button>`}
      <button type="submit" class="primary" disabled=${busy}>${translate("save")}</button>
    </p>`}
    <p role="status">${busy ? translate("loading") : message}</p>
    <${ErrorText} refused=${refused}>
      ${refused?.code === "conflict" && html`<button type="button" onClick=${reload}>${translate("loadRules")}</button>`}
    <//>
  </form>`;
}

/** @param {{all: string[], value: string, change: (profile: string) => void}} props */
function Profile({ all, value, change }) {
  if (all.length === 0) return null;
  return html`<label class="profile">
    <b>${translate("profile")}</b>
    <select value=${value} onChange=${onText(change)}>
      <option value="">${translate("profileNone")}</option>
      ${all.map((name) => html`<option key=${name} value=${name}>${translateCode("profile", name)}</option>`)}
    </select>
  </label>`;
}

/** @param {{kind: RuleKind, example: Env | null, line: RuleLine, change: (line: RuleLine) => void}} props */
function KindLine({ kind, example, line, change }) {
  const { mode, terms } = line;
  const set = (/** @type {Term} */ term) => onText((text) => change({ mode, terms: { ...terms, [term]: text } }));
  const unit = example ? unitOf(example.metric, example.unit) : "";
  const span = (/** @type {Term} */ term, /** @type {boolean} */ needed = false) =>
    html`<label>
      ${translate(/** @type {"term_delay"} */ (`term_${term}`))}
      <input type="number" min="0" step="any" required=${needed} value=${terms[term]} onInput=${set(term)} /> ${translate("minutes")}
    </label>`;
  return html`<fieldset class="kind">
    <legend>${translate(`limit_${kind}`)}</legend>
    <select
      aria-label=${translate("ruleMode")}
      value=${mode}
      onChange=${onText((choice) => change({ mode: /** @type {RuleLine["mode"]} */ (choice), terms }))}
    >
      ${MODES.map((choice) => html`<option key=${choice} value=${choice}>${translate(`mode_${choice}`)}</option>`)}
    </select>
    ${mode === "given" &&
    html`<${Limit} kind=${kind} example=${example} unit=${unit} value=${terms.limit} set=${set("limit")} />
      ${kind === "rate" && span("within", true)} ${kind !== "no_data" && span("delay")}
      <select aria-label=${translate("filter_severity")} value=${terms.severity} onChange=${set("severity")}>
        <option value="">${translate("defaultSeverity")}</option>
        ${MILDEST_FIRST.map((severity) => html`<option key=${severity} value=${severity}>${translateCode("state", severity)}</option>`)}
      </select>
      ${kind !== "no_data" &&
      html`<details>
        <summary>${translate("more")}</summary>
        ${kind !== "switch" &&
        html`<label>
          ${translate("term_hysteresis")}
          <input type="number" min="0" step="any" value=${terms.hysteresis} onInput=${set("hysteresis")} /> <span>${unit}</span>
        </label>`}
        ${span("clear_delay")} ${span("reopen")}
      </details>`}`}
  </fieldset>`;
}

/** @param {{kind: RuleKind, example: Env | null, unit: string, value: string, set: (event: Event) => void}} props */
function Limit({ kind, example, unit, value, set }) {
  if (kind === "switch") {
    return html`<select aria-label=${translate("fact_limit")} required value=${value} onChange=${set}>
      <option value="" disabled></option>
      ${[0, 1].map((state) => html`<option key=${state} value=${state}>${valueAndUnit(example?.metric ?? "", state).value}</option>`)}
    </select>`;
  }
  const isSpan = kind === "no_data";
  return html`<label>
    <input
      type="number"
      step="any"
      min=${isSpan || kind === "rate" ? "0" : null}
      required=${!isSpan}
      placeholder=${isSpan ? translate("byDefault") : null}
      value=${value}
      onInput=${set}
    />
    <span>${isSpan ? translate("minutes") : unit}</span> <span class="sr">${translate("fact_limit")}</span>
  </label>`;
}
