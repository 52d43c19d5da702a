// The wall: one storehouse after the other, on a large screen that runs for days.

import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect } from "preact/hooks";
import { Glyph, StateMark } from "../components/state-mark.js";
import { keepRunning } from "../data/keep-running.js";
import { stateOf, worstState } from "../data/sensor-state.js";
import { sensorKey } from "../data/sensors.js";
import { SENSOR_STATES, compareStorehouseStates } from "../data/severity.js";
import { storehouses, worstFirst } from "../data/storehouses.js";
import { now } from "../data/time.js";
import { activeAlarms, envs, watchStorehouse, watchedStorehouse, zone } from "../data/watched-storehouse.js";
import { route } from "../route.js";
import { displayName, translate } from "../words/translate.js";
import { timeOfDay } from "../words/times.js";
import { List } from "./alarms.js";
import { Tile } from "./tiles.js";

const STAY = 12_000; // milliseconds
const STAY_WORSE = 24_000; // milliseconds; a storehouse whose state is not good takes longer to read
const TILES = 12;
const ALARMS = 4;

/** The index of the storehouse that is shown. */
const turn = signal(0);

export function Wall() {
  useEffect(() => {
    document.documentElement.dataset.theme = "dark";
    document.body.classList.add("wall");
    keepRunning();
  }, []);
  const all = worstFirst.value ?? [];
  // If the address names a storehouse, the wall shows only that storehouse.
  const fixed = route.value.page === "storehouse" ? route.value.storehouse : null;
  const entry = fixed === null ? all[turn.value % Math.max(1, all.length)] : undefined;
  const id = fixed ?? entry?.storehouse.store_house_id ?? null;
  useEffect(() => watchStorehouse(id), [id]);
  useEffect(() => {
    if (fixed !== null || all.length < 2) return undefined;
    const isWorse = entry && compareStorehouseStates(entry.storehouse.state, "good") < 0;
    const timer = setTimeout(() => (turn.value = (turn.peek() + 1) % all.length), isWorse ? STAY_WORSE : STAY);
    return () => clearTimeout(timer);
  }, [turn.value, all.length, fixed]);
  return html`<main class="wall-page">
    <${WallHeader} />
    <${Readings} />
    ${activeAlarms.value.length > 0 && html`<${List} alarms=${activeAlarms.value.slice(0, ALARMS)} />`}
    <${Strip} current=${id} />
  </main>`;
}

function WallHeader() {
  const entry = watchedStorehouse.value;
  return html`<header class="wall-head">
    <div>
      <p><bdi>${entry && displayName(entry.org_name)}</bdi></p>
      <h1><bdi>${entry ? displayName(entry.storehouse.store_house_name) : translate("loading")}</bdi></h1>
    </div>
    ${envs.value && html`<${StateMark} state=${worstState(envs.value.envs)} />`}
    <time class="wall-clock">${timeOfDay(zone.value, now.value)}</time>
  </header>`;
}

function Readings() {
  const all = envs.value?.envs ?? [];
  const worstFirstTiles = all.toSorted(
    (first, second) => SENSOR_STATES.indexOf(stateOf(first)) - SENSOR_STATES.indexOf(stateOf(second)),
  );
  const shown = new Set(worstFirstTiles.slice(0, TILES));
  return html`<ul class="tiles">
    ${all.filter((env) => shown.has(env)).map((env) => html`<${Tile} key=${sensorKey(env)} env=${env} />`)}
  </ul>`;
}

/** Shows a strip with the states of all storehouses. @param {{current: unknown}} props */
function Strip({ current }) {
  return html`<ul class="wall-strip" aria-label=${translate("storehouses")}>
    ${(storehouses.value ?? []).map(
      ({ storehouse }) => html`<li
        key=${storehouse.store_house_id}
        data-state=${storehouse.state}
        aria-current=${String(storehouse.store_house_id) === String(current) ? "true" : null}
      >
        <${Glyph} state=${storehouse.state} /> <bdi>${displayName(storehouse.store_house_name)}</bdi>
      </li>`,
    )}
  </ul>`;
}
