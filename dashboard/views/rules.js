// The rules by which alarms are raised, as far as they concern this storehouse, and when nobody is to be disturbed.

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { loadRules } from "../data/rules.js";
import { sensorKey } from "../data/sensors.js";
import { connection, offers } from "../data/socket.js";
import { minute } from "../data/time.js";
import { envs, watchedId, zone } from "../data/watch.js";
import { say } from "../words/say.js";
import { clock } from "../words/times.js";
import { metricName } from "../words/values.js";
import { MaintenanceTimes } from "./maintenance.js";
import { RuleEditor } from "./rule-editor.js";

/** @import { Env, RuleBook } from "../contract.js" */
/** @import { Subject } from "./rule-editor.js" */

const CHANGES = 5;

export function Rules() {
  const [book, setBook] = useState(/** @type {RuleBook | null} */ (null));
  const [at, setAt] = useState("");
  const [note, setNote] = useState("");
  const load = () => loadRules().then((found) => found && setBook(found), () => setBook(null));
  useEffect(() => {
    if (connection.value === "connected") load();
  }, [connection.value]);
  if (!offers("queryRules")) return html`<p class="notice">${say("noRules")}</p>`;
  if (!book) return html`<p class="notice">${say("loading")}</p>`;
  const all = envs.value?.envs ?? [];
  const subjects = subjectsOf(all);
  const subject = subjects.find((one) => one.key === at) ?? subjects[0];
  const choose = (/** @type {any} */ event) => {
    setAt(event.currentTarget.value);
    setNote("");
  };
  const saved = (/** @type {RuleBook} */ found) => {
    setBook(found);
    setNote(say("saved"));
  };
  const reload = () => {
    setNote("");
    load();
  };
  if (all.length === 0 || !subject) return html`<p class="notice">${say("noReadings")}</p>`;
  return html`<div class="rules">
    <label>
      ${say("ruleFor")}
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
    <${MaintenanceTimes} all=${book.maintenance} store_house_id=${here()} saved=${load} />
    <${Changes} book=${book} />
  </div>`;
}

function here() {
  return envs.value?.store_house_id ?? watchedId.value ?? "";
}

/**
 * What one can make a rule for: the storehouse, all sensors of a metric here, or a single sensor.
 * @param {Env[]} all
 * @returns {Subject[]}
 */
function subjectsOf(all) {
  const place = { store_house_id: here() };
  const metrics = new Map(all.map((env) => [env.metric, env]));
  const wholes = [...metrics].map(([metric, example]) => ({
    key: metric,
    name: say("allOfMetric", { metric: metricName(metric) }),
    scope: { ...place, metric },
    example,
  }));
  const singles = all.map((example) => ({
    key: sensorKey(example),
    name: `${example.sensor_name} · ${metricName(example.metric)}`,
    scope: { ...place, sensor_id: example.sensor_id, metric: example.metric },
    example,
  }));
  return [{ key: "", name: say("wholeStorehouse"), scope: place, example: null }, ...wholes, ...singles];
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
