// All storehouses, the worst first.

import { computed, signal } from "@preact/signals";
import { html } from "htm/preact";
import { useMemo, useRef, useState } from "preact/hooks";
import { Age } from "../parts/age.js";
import { Spark } from "../parts/spark.js";
import { StateMark } from "../parts/state.js";
import { STATES, places, worstFirst } from "../data/places.js";
import { toStorehouse } from "../route.js";
import { say } from "../words/say.js";
import { measured, metricName } from "../words/values.js";

/** @import { Env, State } from "../contract.js" */
/** @import { Place } from "../data/places.js" */

const UNSEEN = 5_000; // milliseconds that a card out of sight may wait to be drawn anew
const MANY = 8; // storehouses from which on it is worth while to search

const wantedState = /** @type {import("@preact/signals").Signal<State | null>} */ (signal(null));
const search = signal("");

const shown = computed(() => {
  const text = search.value.trim().toLowerCase();
  return (worstFirst.value ?? []).filter(
    ({ storehouse, org_name }) =>
      (wantedState.value === null || storehouse.state === wantedState.value) &&
      `${storehouse.store_house_name} ${org_name}`.toLowerCase().includes(text),
  );
});

const counts = computed(() => {
  const states = (places.value ?? []).map((place) => place.storehouse.state);
  return STATES.map((state) => ({ state, count: states.filter((one) => one === state).length })).filter(
    ({ count }) => count > 0,
  );
});

export function Overview() {
  const all = places.value;
  return html`<div class="overview">
    <div class="title">
      <h1>${say("storehouses")}</h1>
      ${all && all.length > 0 && html`<span class="count">${all.length}</span>`}
      <${Counts} />
      ${all && all.length > MANY && html`<${Search} />`}
    </div>
    ${all === null && html`<p class="notice">${say("loading")}</p>`}
    ${all?.length === 0 && html`<p class="notice">${say("noStorehouses")}</p>`}
    ${all && all.length > 0 && shown.value.length === 0 && html`<p class="notice">${say("nothingFound")}</p>`}
    <ul class="cards">
      ${shown.value.map((place) => html`<${Card} key=${place.storehouse.store_house_id} ...${place} />`)}
    </ul>
  </div>`;
}

/** How many there are of each state; pressed, those alone are shown. */
function Counts() {
  return html`<p class="counts" role="group" aria-label=${say("filterByState")}>
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
    placeholder=${say("search")}
    aria-label=${say("search")}
    value=${search.value}
    onInput=${(/** @type {any} */ event) => (search.value = event.currentTarget.value)}
  />`;
}

/**
 * Of hundreds few are in sight: the others wait a little, and are drawn at once when they come into sight.
 * @param {Place} props
 */
function Card({ storehouse, org_name }) {
  const outOfSight = useRef(false);
  const drawn = useRef({ storehouse, at: Date.now() });
  const [, drawAnew] = useState(0);
  if (!outOfSight.current || Date.now() - drawn.current.at > UNSEEN) drawn.current = { storehouse, at: Date.now() };
  const comesOrGoes = (/** @type {{skipped: boolean}} */ { skipped }) => {
    outOfSight.current = skipped;
    if (!skipped) drawAnew(Date.now());
  };
  return html`<li class="card" data-state=${drawn.current.storehouse.state} onContentvisibilityautostatechange=${comesOrGoes}>
    <${Inside} storehouse=${drawn.current.storehouse} org_name=${org_name} />
  </li>`;
}

/**
 * Reads signals, and so is drawn anew only when what it is given is not the same.
 * @param {Place} props
 */
function Inside({ storehouse, org_name }) {
  const { store_house_id, store_house_name, state, envs, alarms, spark } = storehouse;
  const curve = useMemo(() => spread(spark), [JSON.stringify(spark)]);
  return html`<a href=${toStorehouse(store_house_id)}>
    <span class="card-title">
      <bdi class="name">${store_house_name}</bdi>
      <${StateMark} state=${state} />
    </span>
    <span class="card-title">
      <bdi class="organisation">${org_name}</bdi>
      ${alarms.open > 0 && html`<span class="open">${openInWords(alarms)}</span>`}
    </span>
    ${envs.length > 0 && html`<span class="card-envs">${envs.map((env) => html`<${ShortReading} env=${env} />`)}</span>`}
    ${spark.some((value) => value !== null) && html`<${Spark} points=${curve} />`}
  </a>`;
}

/** @param {Place["storehouse"]["alarms"]} alarms */
function openInWords({ open, unacknowledged }) {
  const count = say("openAlarms", { count: open });
  return unacknowledged > 0 ? `${count}, ${say("unacknowledged", { count: unacknowledged })}` : count;
}

/** @param {{env: Env}} props */
function ShortReading({ env }) {
  const { value, unit } = measured(env.metric, env.value, env.unit);
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
function spread(spark) {
  return spark.map((value, index) => (value === null ? null : [index / (spark.length - 1), value]));
}
