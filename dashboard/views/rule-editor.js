// One rule: what holds for the sensors it is for, kind by kind.

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { LIMITS, drafted, lineOf, preview, ruleFor, saveRules, withRule } from "../data/rules.js";
import { sensorOf } from "../data/sensors.js";
import { Refused, offers } from "../data/socket.js";
import { may } from "../data/who.js";
import { inLimits } from "../parts/limit-bar.js";
import { YourName } from "../parts/your-name.js";
import { named, say } from "../words/say.js";
import { isSwitch, measured, unitOf } from "../words/values.js";

/** @import { Env, RuleBook, RuleKind, Scope } from "../contract.js" */
/** @import { Line, Term } from "../data/rules.js" */
/** @typedef {{key: string, name: string, scope: Scope, example: Env | null}} Subject `example`: of its sensors */

const SEVERITIES = /** @type {const} */ (["info", "warning", "critical"]);
const MODES = /** @type {const} */ (["general", "given", "off"]);

/**
 * What can be said of it: of a whole storehouse, with all that is measured there, no limit.
 * @param {Env | null} example
 * @returns {RuleKind[]}
 */
function kindsOf(example) {
  if (!example) return ["no_data"];
  if (isSwitch(example.metric, example.unit)) return ["switch", "no_data"];
  return sensorOf(example)?.interval_s === null ? [...LIMITS, "no_data"] : [...LIMITS, "rate", "no_data"];
}

/**
 * @param {{book: RuleBook, subject: Subject, note: string, saved: (book: RuleBook) => void, reload: () => void}} props
 *   `note`: what there is to be said of it at first
 */
export function RuleEditor({ book, subject, note, saved, reload }) {
  const { scope, example } = subject;
  const before = ruleFor(book.rules, scope);
  const kinds = kindsOf(example);
  const [profile, setProfile] = useState(before?.profile ?? "");
  const [lines, setLines] = useState(
    /** @returns {Partial<Record<RuleKind, Line>>} */
    () => Object.fromEntries(kinds.map((kind) => [kind, lineOf(before, kind)])),
  );
  const [refused, setRefused] = useState(/** @type {Refused | null} */ (null));
  const [told, setTold] = useState(note);
  const [busy, setBusy] = useState(false);
  const limits = example && !isSwitch(example.metric, example.unit) && sensorOf(example)?.limits;
  const draft = () => withRule(book.rules, drafted(before, scope, profile, lines));

  /** @param {() => Promise<void>} act */
  async function attempt(act) {
    setBusy(true);
    setRefused(null);
    setTold("");
    try {
      await act();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      setRefused(error);
    }
    setBusy(false);
  }

  const save = (/** @type {Event} */ event) => {
    event.preventDefault();
    attempt(async () => saved(await saveRules(draft(), book.revision)));
  };
  const tryOut = () => attempt(async () => setTold(say("wouldRing", await preview(scope.store_house_id ?? "", draft()))));

  // What was told is of the draft as it was.
  return html`<form class="panel" onSubmit=${save} onInput=${() => setTold("")}>
    ${limits && html`<p class="quiet">${say("limitsNow", { limits: inLimits(example, limits) })}</p>`}
    <${Profile} all=${Object.keys(book.profiles)} value=${profile} change=${setProfile} />
    ${kinds.map(
      (kind) =>
        html`<${KindLine}
          key=${kind}
          kind=${kind}
          example=${example}
          line=${lines[kind]}
          change=${(/** @type {Line} */ line) => setLines({ ...lines, [kind]: line })}
        />`,
    )}
    ${offers("saveRules") &&
    may("configure") &&
    html`<p class="buttons">
      <${YourName} />
      ${offers("previewAlarms") && html`<button type="button" disabled=${busy} onClick=${tryOut}>${say("tryOut")}</button>`}
      <button type="submit" class="chief" disabled=${busy}>${say("save")}</button>
    </p>`}
    <p role="status">${busy ? say("loading") : told}</p>
    <p class="error" role="alert">
      ${refused &&
      (refused.field === "revision"
        ? html`${say("rulesChanged")} <button type="button" onClick=${reload}>${say("showRules")}</button>`
        : say("refused", { message: refused.message }))}
    </p>
  </form>`;
}

/** @param {{all: string[], value: string, change: (profile: string) => void}} props */
function Profile({ all, value, change }) {
  if (all.length === 0) return null;
  return html`<label class="profile">
    <b>${say("profile")}</b>
    <select value=${value} onChange=${(/** @type {any} */ event) => change(event.currentTarget.value)}>
      <option value="">${say("profileNone")}</option>
      ${all.map((one) => html`<option key=${one} value=${one}>${named("profile", one)}</option>`)}
    </select>
  </label>`;
}

/** @param {{kind: RuleKind, example: Env | null, line: Line, change: (line: Line) => void}} props */
function KindLine({ kind, example, line, change }) {
  const { mode, terms } = line;
  const set = (/** @type {Term} */ term) => (/** @type {any} */ event) =>
    change({ mode, terms: { ...terms, [term]: event.currentTarget.value } });
  const unit = example ? unitOf(example.metric, example.unit) : "";
  const span = (/** @type {Term} */ term, /** @type {boolean} */ needed = false) =>
    html`<label>
      ${say(/** @type {"term_delay"} */ (`term_${term}`))}
      <input type="number" min="0" step="any" required=${needed} value=${terms[term]} onInput=${set(term)} /> ${say("minutes")}
    </label>`;
  return html`<fieldset class="kind">
    <legend>${say(`limit_${kind}`)}</legend>
    <select
      aria-label=${say("ruleMode")}
      value=${mode}
      onChange=${(/** @type {any} */ event) => change({ mode: event.currentTarget.value, terms })}
    >
      ${MODES.map((one) => html`<option key=${one} value=${one}>${say(`mode_${one}`)}</option>`)}
    </select>
    ${mode === "given" &&
    html`<${Limit} kind=${kind} example=${example} unit=${unit} value=${terms.limit} set=${set("limit")} />
      ${kind === "rate" && span("within", true)} ${kind !== "no_data" && span("delay")}
      <select aria-label=${say("filter_severity")} value=${terms.severity} onChange=${set("severity")}>
        <option value="">${say("usualSeverity")}</option>
        ${SEVERITIES.map((one) => html`<option key=${one} value=${one}>${named("state", one)}</option>`)}
      </select>
      ${kind !== "no_data" &&
      html`<details>
        <summary>${say("moreTerms")}</summary>
        ${kind !== "switch" &&
        html`<label>
          ${say("term_hysteresis")}
          <input type="number" min="0" step="any" value=${terms.hysteresis} onInput=${set("hysteresis")} /> <span>${unit}</span>
        </label>`}
        ${span("clear_delay")} ${span("reopen")}
      </details>`}`}
  </fieldset>`;
}

/** @param {{kind: RuleKind, example: Env | null, unit: string, value: string, set: (event: Event) => void}} props */
function Limit({ kind, example, unit, value, set }) {
  if (kind === "switch") {
    return html`<select aria-label=${say("fact_limit")} required value=${value} onChange=${set}>
      <option value="" disabled></option>
      ${[0, 1].map((one) => html`<option key=${one} value=${one}>${measured(example?.metric ?? "", one, null).value}</option>`)}
    </select>`;
  }
  const silence = kind === "no_data";
  return html`<label>
    <input
      type="number"
      step="any"
      min=${silence || kind === "rate" ? "0" : null}
      required=${!silence}
      placeholder=${silence ? say("usualSpan") : null}
      value=${value}
      onInput=${set}
    />
    <span>${silence ? say("minutes") : unit}</span> <span class="sr">${say("fact_limit")}</span>
  </label>`;
}
