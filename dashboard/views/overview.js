// The overview of all storehouses, the worst first.

import { computed, signal } from "@preact/signals";
import { html } from "htm/preact";
import { useMemo, useRef, useState } from "preact/hooks";
import { onText } from "../components/form.js";
import { Age, Sparkline } from "../components/reading.js";
import { StateMark } from "../components/state-mark.js";
import { STOREHOUSE_STATES } from "../data/severity.js";
import { storehouses, worstFirst } from "../data/storehouses.js";
import { toStorehouse } from "../route.js";
import { displayName, translate } from "../words/translate.js";
import { valueAndUnit, metricName } from "../words/values.js";

/** @import { Env, OpenAlarms, StorehouseState } from "../contract.js" */
/** @import { StorehouseEntry } from "../types.js" */

const HIDDEN_REDRAW = 5_000; // milliseconds between two updates of a card that is out of view
const SEARCH_ABOVE = 8; // number of storehouses above which there is a search field

const wantedState = /** @type {import("@preact/signals").Signal<StorehouseState | null>} */ (signal(null));
const search = signal("");

const shown = computed(() => {
  const text = search.value.trim().toLowerCase();
  return (worstFirst.value ?? []).filter(
    ({ storehouse, org_name }) =>
      (wantedState.value === null || storehouse.state === wantedState.value) &&
      `${displayName(storehouse.store_house_name)} ${displayName(org_name)}`.toLowerCase().includes(text),
  );
});

const counts = computed(() => {
  const states = (storehouses.value ?? []).map((entry) => entry.storehouse.state);
  return STOREHOUSE_STATES.map((state) => ({ state, count: states.filter((other) => other === state).length })).filter(
    ({ count }) => count > 0,
  );
});

export function Overview() {
  const all = storehouses.value;
  return html`<div class="overview">
    <div class="title">
      <h1>${translate("storehouses")}</h1>
      ${all && all.length > 0 && html`<span class="count">${all.length}</span>`}
      <${Counts} />
      ${all && all.length > SEARCH_ABOVE && html`<${Search} />`}
    </div>
    ${all === null && html`<p class="notice">${translate("loading")}</p>`}
    ${all?.length === 0 && html`<p class="notice">${translate("noStorehouses")}</p>`}
    ${all && all.length > 0 && shown.value.length === 0 && html`<p class="notice">${translate("noMatch")}</p>`}
    <ul class="cards">
      ${shown.value.map((entry) => html`<${Card} key=${entry.storehouse.store_house_id} ...${entry} />`)}
    </ul>
  </div>`;
}

/** Shows the number of storehouses in each state. The numbers are buttons that filter the storehouses by state. */
function Counts() {
  return html`<p class="counts" role="group" aria-label=${translate("filterByState")}>
    ${counts.value.map(
      ({ state, count }) =>
        html`<button
          type="button"
          class="chip"
          key=${state}
          aria-pressed=${wantedState.value === state}
          onClick=${() => (wantedState.value = wantedState.value === state ? null : state)}
        >
          <${StateMark} state=${state} /> <b>${count}</b>
        </button>`,
    )}
  </p>`;
}

function Search() {
  return html`<input
    type="search"
    class="search"
    placeholder=${translate("search")}
    aria-label=${translate("search")}
    value=${search.value}
    onInput=${onText((text) => (search.value = text))}
  />`;
}

/**
 * Shows the card of a storehouse. A card out of view is updated less often, and at once when it comes into view.
 * @param {StorehouseEntry} props
 */
function Card({ storehouse, org_name }) {
  const isHidden = useRef(false);
  const shownLast = useRef({ storehouse, at: Date.now() });
  const [, redraw] = useState(0);
  if (!isHidden.current || Date.now() - shownLast.current.at > HIDDEN_REDRAW) {
    shownLast.current = { storehouse, at: Date.now() };
  }
  const onVisibility = (/** @type {{skipped: boolean}} */ { skipped }) => {
    isHidden.current = skipped;
    if (!skipped) redraw(Date.now());
  };
  const current = shownLast.current.storehouse;
  return html`<li class="card" data-state=${current.state} onContentvisibilityautostatechange=${onVisibility}>
    <${CardContent} storehouse=${current} org_name=${org_name} />
  </li>`;
}

/**
 * Shows the content of a card. It is a separate component, so that signals redraw only the content.
 * @param {StorehouseEntry} props
 */
function CardContent({ storehouse, org_name }) {
  const { store_house_id, store_house_name, state, envs, alarms, spark } = storehouse;
  const curve = useMemo(() => sparkPoints(spark), [JSON.stringify(spark)]);
  return html`<a href=${toStorehouse(store_house_id)}>
    <span class="card-title">
      <bdi class="name">${displayName(store_house_name)}</bdi>
      <${StateMark} state=${state} />
    </span>
    <span class="card-title">
      <bdi class="organisation">${displayName(org_name)}</bdi>
      ${alarms.open > 0 && html`<span class="open">${openAlarmsText(alarms)}</span>`}
    </span>
    ${envs.length > 0 && html`<span class="card-envs">${envs.map((env) => html`<${ShortReading} env=${env} />`)}</span>`}
    ${spark.some((value) => value !== null) && html`<${Sparkline} points=${curve} />`}
  </a>`;
}

/** @param {OpenAlarms} alarms */
function openAlarmsText({ open, unacknowledged }) {
  const count = translate("openAlarms", { count: open });
  return unacknowledged > 0 ? `${count} · ${translate("unacknowledged", { count: unacknowledged })}` : count;
}

/** @param {{env: Env}} props */
function ShortReading({ env }) {
  const { value, unit } = valueAndUnit(env.metric, env.value, env.unit);
  return html`<span class="short" data-quality=${env.quality}>
    <span class="metric">${metricName(env.metric)}</span>
    <span class="value"><span class="number">${value}</span> <span class="unit">${unit}</span></span>
    <${Age} time=${env.time} />
  </span>`;
}

/**
 * @param {(number | null)[]} spark
 * @returns {([number, number] | null)[]}
 */
function sparkPoints(spark) {
  return spark.map((value, index) => (value === null ? null : [index / (spark.length - 1), value]));
}
