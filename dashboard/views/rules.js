// The alarm rules of the watched storehouse, and its maintenance.

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { onText } from "../components/form.js";
import { loadRules } from "../data/rules.js";
import { sensorKey } from "../data/sensors.js";
import { connection, offers } from "../data/socket.js";
import { minute } from "../data/time.js";
import { envs, watchedId, zone } from "../data/watched-storehouse.js";
import { displayName, translate } from "../words/translate.js";
import { clock } from "../words/times.js";
import { metricName } from "../words/values.js";
import { MaintenanceList } from "./maintenance.js";
import { RuleEditor } from "./rule-editor.js";

/** @import { Env, Rules } from "../contract.js" */
/** @import { RuleSubject } from "../types.js" */

const CHANGES = 5;

export function RulesPage() {
  const [book, setBook] = useState(/** @type {Rules | null} */ (null));
  const [chosenKey, setChosenKey] = useState("");
  const [note, setNote] = useState("");
  const load = () => loadRules().then((rules) => rules && setBook(rules), () => setBook(null));
  useEffect(() => {
    if (connection.value === "connected") load();
  }, [connection.value]);
  if (!offers("queryRules")) return html`<p class="notice">${translate("noRules")}</p>`;
  if (!book) return html`<p class="notice">${translate("loading")}</p>`;
  const all = envs.value?.envs ?? [];
  const subjects = subjectsOf(all);
  const subject = subjects.find(({ key }) => key === chosenKey) ?? subjects[0];
  const choose = onText((key) => {
    setChosenKey(key);
    setNote("");
  });
  const saved = (/** @type {Rules} */ rules) => {
    setBook(rules);
    setNote(translate("saved"));
  };
  const reload = () => {
    setNote("");
    load();
  };
  if (all.length === 0 || !subject) return html`<p class="notice">${translate("noReadings")}</p>`;
  return html`<div class="rules">
    <label>
      ${translate("ruleFor")}
      <select value=${subject.key} onChange=${choose}>
        ${subjects.map(({ key, name }) => html`<option key=${key} value=${key}>${name}</option>`)}
      </select>
    </label>
    <${RuleEditor}
      key=${`${subject.key} ${book.revision} ${JSON.stringify(book.rules)}`}
      book=${book}
      subject=${subject}
      note=${note}
      saved=${saved}
      reload=${reload}
    />
    <${MaintenanceList} all=${book.maintenance} store_house_id=${here()} saved=${load} />
    <${Changes} book=${book} />
  </div>`;
}

function here() {
  return envs.value?.store_house_id ?? watchedId.value ?? "";
}

/**
 * Return the possible subjects of a rule: the storehouse, all its sensors of one metric, or an individual sensor.
 * @param {Env[]} all
 * @returns {RuleSubject[]}
 */
function subjectsOf(all) {
  const whole = { store_house_id: here() };
  const metrics = new Map(all.map((env) => [env.metric, env]));
  const metricSubjects = [...metrics].map(([metric, example]) => ({
    key: metric,
    name: translate("allOfMetric", { metric: metricName(metric) }),
    scope: { ...whole, metric },
    example,
  }));
  const sensorSubjects = all.map((example) => ({
    key: sensorKey(example),
    name: `${displayName(example.sensor_name)} · ${metricName(example.metric)}`,
    scope: { ...whole, sensor_id: example.sensor_id, metric: example.metric },
    example,
  }));
  return [{ key: "", name: translate("wholeStorehouse"), scope: whole, example: null }, ...metricSubjects, ...sensorSubjects];
}

/** @param {{book: Rules}} props */
function Changes({ book }) {
  if (book.changes.length === 0) return null;
  const local = clock(zone.value, minute.value);
  return html`<section>
    <h3>${translate("recentChanges")}</h3>
    <ul>
      ${book.changes.slice(0, CHANGES).map(
        ({ written, by }) => html`<li key=${written}><time datetime=${written}>${local(written)}</time> <bdi>${by}</bdi></li>`,
      )}
    </ul>
  </section>`;
}
