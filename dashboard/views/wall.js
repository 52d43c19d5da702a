// The wall: one storehouse after the other, large, for days.

import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect } from "preact/hooks";
import { Glyph, StateMark } from "../parts/state.js";
import { places, rank, worstFirst } from "../data/places.js";
import { keepRunning } from "../data/keep-running.js";
import { sensorKey } from "../data/sensors.js";
import { SENSOR_STATES, stateOf } from "../data/states.js";
import { now } from "../data/time.js";
import { activeAlarms, envs, follow, watchedPlace, zone } from "../data/watch.js";
import { route } from "../route.js";
import { say } from "../words/say.js";
import { timeOfDay } from "../words/times.js";
import { List } from "./alarms.js";
import { Tile } from "./tiles.js";

const STAY = 12_000; // milliseconds
const STAY_WORSE = 24_000; // milliseconds; where something is wrong, people want to read
const TILES = 12;
const ALARMS = 4;

/** Whose turn it is. */
const turn = signal(0);

export function Wall() {
  useEffect(() => {
    document.documentElement.dataset.theme = "dark";
    document.body.classList.add("wall");
    keepRunning();
  }, []);
  const all = worstFirst.value ?? [];
  // An address that names one storehouse keeps the wall on it.
  const fixed = route.value.page === "storehouse" ? route.value.storehouse : null;
  const place = fixed === null ? all[turn.value % Math.max(1, all.length)] : undefined;
  const id = fixed ?? place?.storehouse.store_house_id ?? null;
  useEffect(() => follow(id), [id]);
  useEffect(() => {
    if (fixed !== null || all.length < 2) return undefined;
    const stay = place && rank(place.storehouse.state) < rank("good") ? STAY_WORSE : STAY;
    const timer = setTimeout(() => (turn.value = (turn.peek() + 1) % all.length), stay);
    return () => clearTimeout(timer);
  }, [turn.value, all.length, fixed]);
  return html`<main class="wall-page">
    <${Head} />
    <${Readings} />
    ${activeAlarms.value.length > 0 && html`<${List} alarms=${activeAlarms.value.slice(0, ALARMS)} />`}
    <${Strip} current=${id} />
  </main>`;
}

function Head() {
  const place = watchedPlace.value;
  const states = (envs.value?.envs ?? []).map(stateOf);
  const worst = SENSOR_STATES.find((state) => states.includes(state)) ?? "empty";
  return html`<header class="wall-head">
    <div>
      <p><bdi>${place?.org_name}</bdi></p>
      <h1><bdi>${place?.storehouse.store_house_name ?? say("loading")}</bdi></h1>
    </div>
    ${envs.value && html`<${StateMark} state=${worst} />`}
    <time class="wall-clock">${timeOfDay(zone.value, now.value)}</time>
  </header>`;
}

function Readings() {
  const all = envs.value?.envs ?? [];
  const worstFirstTiles = all.toSorted(
    (one, other) => SENSOR_STATES.indexOf(stateOf(one)) - SENSOR_STATES.indexOf(stateOf(other)),
  );
  const shown = new Set(worstFirstTiles.slice(0, TILES));
  return html`<ul class="tiles">
    ${all.filter((env) => shown.has(env)).map((env) => html`<${Tile} key=${sensorKey(env)} env=${env} />`)}
  </ul>`;
}

/** All storehouses, so that the one that is shown hides none of the others. @param {{current: unknown}} props */
function Strip({ current }) {
  return html`<ul class="wall-strip" aria-label=${say("storehouses")}>
    ${(places.value ?? []).map(
      ({ storehouse }) => html`<li
        key=${storehouse.store_house_id}
        data-state=${storehouse.state}
        aria-current=${String(storehouse.store_house_id) === String(current) ? "true" : null}
      >
        <${Glyph} state=${storehouse.state} /> <bdi>${storehouse.store_house_name}</bdi>
      </li>`,
    )}
  </ul>`;
}
