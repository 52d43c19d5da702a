// The table tab: every sensor as a row, sorted by a column.

import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { Age, describeLimits, Trend } from "../components/reading.js";
import { stateOf } from "../data/sensor-state.js";
import { sensorKey, sensorOf } from "../data/sensors.js";
import { SENSOR_STATES } from "../data/severity.js";
import { minute } from "../data/time.js";
import { envs, zone } from "../data/watched-storehouse.js";
import { displayName, translate } from "../words/translate.js";
import { clock } from "../words/times.js";
import { valueAndUnit, metricName } from "../words/values.js";
import { Marks, Name } from "./tiles.js";

/** @import { Env } from "../contract.js" */

const COLUMNS = /** @type {const} */ (["state", "sensor", "metric", "value", "limits", "time"]);

/** The sort key of each column. The limits cannot be sorted. */
const ORDERS = /** @type {Record<string, (env: Env) => string | number>} */ ({
  state: (env) => SENSOR_STATES.indexOf(stateOf(env)),
  sensor: (env) => displayName(env.sensor_name),
  metric: (env) => env.metric,
  value: (env) => env.value ?? -Infinity,
  time: (env) => env.time ?? "",
});

/** @type {import("@preact/signals").Signal<{column: string, sign: 1 | -1} | null>} null for the server's order */
const order = signal(null);

export function Table() {
  const all = envs.value?.envs ?? [];
  if (all.length === 0) return html`<p class="notice">${translate("noReadings")}</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${translate("readings")}>
    <table class="readings">
      <thead>
        <tr>${COLUMNS.map((column) => html`<${Heading} key=${column} column=${column} />`)}</tr>
      </thead>
      <tbody>${ordered(all).map((env) => html`<${Row} key=${sensorKey(env)} env=${env} />`)}</tbody>
    </table>
  </div>`;
}

/** @param {{column: typeof COLUMNS[number]}} props */
function Heading({ column }) {
  if (!(column in ORDERS)) return html`<th scope="col">${translate(`column_${column}`)}</th>`;
  const sign = order.value?.column === column ? order.value.sign : null;
  const sort = sign === null ? null : sign === 1 ? "ascending" : "descending";
  return html`<th scope="col" aria-sort=${sort} class=${`by-${column}`}>
    <button type="button" onClick=${() => (order.value = { column, sign: sign === 1 ? -1 : 1 })}>
      ${translate(`column_${column}`)}<span class="sort" aria-hidden="true">${sign === null ? "" : sign === 1 ? "▲" : "▼"}</span>
    </button>
  </th>`;
}

/** @param {{env: Env}} props */
function Row({ env }) {
  const { value, unit } = valueAndUnit(env.metric, env.value, env.unit);
  const limits = sensorOf(env)?.limits;
  return html`<tr data-state=${stateOf(env)} data-quality=${env.quality}>
    <td class="state-cell"><${Marks} env=${env} /></td>
    <th scope="row"><${Name} env=${env} /></th>
    <td>${metricName(env.metric)}</td>
    <td class="value">
      <span class="number">${value}</span> <span class="unit">${unit}</span> <${Trend} env=${env} />
    </td>
    <td class="quiet">${limits ? describeLimits(env, limits) : ""}</td>
    <td class="when"><${Age} time=${env.time} /> ${env.time && html`<time datetime=${env.time}>${clock(zone.value, minute.value)(env.time)}</time>`}</td>
  </tr>`;
}

/** @param {Env[]} all */
function ordered(all) {
  const by = order.value && ORDERS[order.value.column];
  if (!order.value || !by) return all;
  const { sign } = order.value;
  return all.toSorted((env, other) => {
    const [first, second] = [by(env), by(other)];
    return sign * (first < second ? -1 : first > second ? 1 : 0);
  });
}
