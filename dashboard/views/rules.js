// The rules by which alarms are raised, as far as they concern this storehouse.

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { introduce, person } from "../data/actions.js";
import { LIMITS, drafted, lineOf, loadRules, preview, ruleFor, saveRules, withRule } from "../data/rules.js";
import { sensorKey, sensorOf } from "../data/sensors.js";
import { Refused, connection, offers } from "../data/socket.js";
import { minute } from "../data/time.js";
import { envs, watchedId, zone } from "../data/watch.js";
import { inLimits } from "../parts/limit-bar.js";
import { named, say } from "../words/say.js";
import { clock } from "../words/times.js";
import { isSwitch, metricName, unitOf } from "../words/values.js";

/** @import { Env, RuleBook, RuleKind, Scope } from "../contract.js" */
/** @import { Line } from "../data/rules.js" */

const SEVERITIES = /** @type {const} */ (["info", "warning", "critical"]);
const MODES = /** @type {const} */ (["general", "given", "off"]);
const CHANGES = 5;

export function Rules() {
  const [book, setBook] = useState(/** @type {RuleBook | null} */ (null));
  const [at, setAt] = useState("");
  useEffect(() => {
    if (connection.value === "connected") loadRules().then((found) => found && setBook(found), () => setBook(null));
  }, [connection.value]);
  if (!offers("queryRules")) return html`<p class="notice">${say("noRules")}</p>`;
  if (!book) return html`<p class="notice">${say("loading")}</p>`;
  const subjects = subjectsOf(envs.value?.envs ?? []);
  const subject = subjects.find((one) => one.key === at) ?? subjects[0];
  if (!subject) return html`<p class="notice">${say("noReadings")}</p>`;
  return html`<div class="rules">
    <label>
      ${say("ruleFor")}
      <select value=${subject.key} onChange=${(/** @type {any} */ event) => setAt(event.currentTarget.value)}>
        ${subjects.map(({ key, name }) => html`<option key=${key} value=${key}>${name}</option>`)}
      </select>
    </label>
    <${Editor} key=${`${subject.key} ${JSON.stringify(book.rules)}`} book=${book} subject=${subject} saved=${setBook} />
    <${Changes} book=${book} />
  </div>`;
}

/**
 * What one can make a rule for: all sensors of a metric here, or a single sensor.
 * @typedef {{key: string, name: string, scope: Scope, example: Env}} Subject
 * @param {Env[]} all
 * @returns {Subject[]}
 */
function subjectsOf(all) {
  const here = { store_house_id: envs.value?.store_house_id ?? watchedId.value ?? "" };
  const metrics = new Map(all.map((env) => [env.metric, env]));
  const wholes = [...metrics].map(([metric, example]) => ({
    key: metric,
    name: say("allOfMetric", { metric: metricName(metric) }),
    scope: { ...here, metric },
    example,
  }));
  const singles = all.map((example) => ({
    key: sensorKey(example),
    name: `${example.sensor_name} · ${metricName(example.metric)}`,
    scope: { ...here, sensor_id: example.sensor_id, metric: example.metric },
    example,
  }));
  return [...wholes, ...singles];
}

/** @param {Env} env @returns {readonly RuleKind[]} */
function kindsOf(env) {
  return isSwitch(env.metric, env.unit) ? ["switch"] : LIMITS;
}

/** @param {{book: RuleBook, subject: Subject, saved: (book: RuleBook) => void}} props */
function Editor({ book, subject, saved }) {
  const { scope, example } = subject;
  const before = ruleFor(book.rules, scope);
  const kinds = kindsOf(example);
  const [lines, setLines] = useState(
    /** @returns {Partial<Record<RuleKind, Line>>} */
    () => Object.fromEntries(kinds.map((kind) => [kind, lineOf(before, kind)])),
  );
  const [told, setTold] = useState("");
  const [would, setWould] = useState("");
  const [busy, setBusy] = useState(false);
  const limits = sensorOf(example)?.limits;
  const draft = () => withRule(book.rules, drafted(before, scope, lines));

  /** @param {() => Promise<void>} act */
  async function attempt(act) {
    setBusy(true);
    setTold("");
    try {
      await act();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      setTold(say("refused", { message: error.message }));
    }
    setBusy(false);
  }

  const save = (/** @type {Event} */ event) => {
    event.preventDefault();
    attempt(async () => saved(await saveRules(draft())));
  };
  const tryOut = () => attempt(async () => setWould(say("wouldRing", await preview(scope.store_house_id ?? "", draft()))));

  return html`<form class="panel" onSubmit=${save}>
    ${limits && !isSwitch(example.metric, example.unit) && html`<p class="quiet">${say("limitsNow", { limits: inLimits(example, limits) })}</p>`}
    ${kinds.map(
      (kind) =>
        html`<${KindLine}
          key=${kind}
          kind=${kind}
          unit=${unitOf(example.metric, example.unit)}
          line=${lines[kind]}
          change=${(/** @type {Line} */ line) => setLines({ ...lines, [kind]: line })}
        />`,
    )}
    ${offers("saveRules") &&
    html`<p class="buttons">
      <label>
        ${say("yourName")}
        <input required maxlength="100" autocomplete="name" value=${person.value} onInput=${(/** @type {any} */ event) => introduce(event.currentTarget.value)} />
      </label>
      ${offers("previewAlarms") && html`<button type="button" disabled=${busy} onClick=${tryOut}>${say("tryOut")}</button>`}
      <button type="submit" class="chief" disabled=${busy}>${say("save")}</button>
    </p>`}
    <p role="status">${would}</p>
    <p class="error" role="alert">${told}</p>
  </form>`;
}

/** @param {{kind: RuleKind, unit: string, line: Line, change: (line: Line) => void}} props */
function KindLine({ kind, unit, line, change }) {
  const given = line.mode === "given";
  const set = (/** @type {keyof Line} */ name) => (/** @type {any} */ event) => change({ ...line, [name]: event.currentTarget.value });
  return html`<fieldset class="kind">
    <legend>${say(`limit_${/** @type {"high"} */ (kind)}`)}</legend>
    <select aria-label=${say("ruleMode")} value=${line.mode} onChange=${set("mode")}>
      ${MODES.map((mode) => html`<option key=${mode} value=${mode}>${say(`mode_${mode}`)}</option>`)}
    </select>
    ${given &&
    html`<label>
        <input type="number" step="any" required value=${line.limit} onInput=${set("limit")} /> <span>${unit}</span>
        <span class="sr">${say("fact_limit")}</span>
      </label>
      <label>
        ${say("delayBefore")}
        <input type="number" min="0" step="any" value=${line.minutes} onInput=${set("minutes")} /> ${say("delayAfter")}
      </label>
      <select aria-label=${say("filter_severity")} value=${line.severity} onChange=${set("severity")}>
        <option value="">${say("usualSeverity")}</option>
        ${SEVERITIES.map((one) => html`<option key=${one} value=${one}>${named("state", one)}</option>`)}
      </select>`}
  </fieldset>`;
}

/** @param {{book: RuleBook}} props */
function Changes({ book }) {
  if (book.changes.length === 0) return null;
  const local = clock(zone.value, minute.value);
  return html`<section>
    <h3>${say("lastChanges")}</h3>
    <ul>
      ${book.changes.slice(0, CHANGES).map(
        ({ written, by }) => html`<li key=${written}><time datetime=${written}>${local(written)}</time> <bdi>${by}</bdi></li>`,
      )}
    </ul>
  </section>`;
}
