// All organisations and storehouses that one may see, and how each stands.

import { computed, effect, signal, untracked } from "@preact/signals";
import { ask, connection, onPush } from "./socket.js";
import { setClock } from "./time.js";

/** @import { Id, Overview, OverviewOrganisation, OverviewStorehouse, State } from "../contract.js" */

/** From the worst to the best. */
export const STATES = /** @type {const} */ (["critical", "warning", "info", "stale", "good", "empty"]);

const TOGETHER = 100; // milliseconds: what is told so closely together is drawn at once

/**
 * @typedef {object} Place
 * @property {OverviewStorehouse} storehouse
 * @property {Id} org_id
 * @property {string} org_name
 */

/** @type {import("@preact/signals").Signal<OverviewOrganisation[] | null>} null while they are not known */
const organisations = signal(null);

/** Whether the server told, by `overview`, that it lost its database. */
export const overviewStale = signal(false);

/** Every storehouse, null while they are not known. */
export const places = computed(() => organisations.value?.flatMap(placesOf) ?? null);

/** The same, the worst first; of equal ones as the server lists them. */
export const worstFirst = computed(
  () => places.value?.toSorted((one, other) => rank(one.storehouse.state) - rank(other.storehouse.state)) ?? null,
);

/** How many alarms are open everywhere, and what they come to. */
export const openAlarms = computed(() => {
  const all = (places.value ?? []).map((place) => place.storehouse.alarms);
  const worst = all.flatMap((alarms) => alarms.worst ?? []).toSorted((one, other) => rank(one) - rank(other))[0];
  return {
    open: all.reduce((sum, alarms) => sum + alarms.open, 0),
    unacknowledged: all.reduce((sum, alarms) => sum + alarms.unacknowledged, 0),
    worst: worst ?? null,
  };
});

onPush("overview", take);
effect(() => {
  if (connection.value === "connected") untracked(load);
});

/** @param {State} state */
export function rank(state) {
  return STATES.indexOf(state);
}

/**
 * @param {string} id as an address carries it, always a string
 * @returns {Place | undefined}
 */
export function findPlace(id) {
  return places.value?.find((place) => String(place.storehouse.store_house_id) === id);
}

/** @param {OverviewOrganisation} organisation */
function placesOf({ org_id, org_name, storehouses }) {
  return storehouses.map((storehouse) => ({ storehouse, org_id, org_name }));
}

let turn = 0;

function load() {
  const mine = ++turn;
  return ask("overview", undefined, () => mine === turn); // its answer comes as `overview`, like all that follows
}

/** @type {Map<Id, OverviewOrganisation>} what was told and is not shown yet */
const told = new Map();
let whole = true;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let showing;

/** @param {Overview} overview the first after we connect holds every organisation, later ones those that changed */
function take(overview) {
  overviewStale.value = overview.stale;
  if (!overview.stale) setClock(overview.time);
  for (const one of overview.organisations) told.set(one.org_id, one);
  if (whole) show();
  else showing ??= setTimeout(show, TOGETHER);
}

function show() {
  clearTimeout(showing);
  showing = undefined;
  const known = new Map(organisations.peek()?.map((one) => [one.org_id, one]));
  const fresh = new Map([...told].map(([id, one]) => [id, unchanged(known.get(id), one)]));
  organisations.value = [...(whole ? fresh : new Map([...known, ...fresh])).values()];
  told.clear();
  whole = false;
}

effect(() => {
  if (connection.value !== "connected") whole = true;
});

/**
 * The organisation as it is told, with what has not changed in it being the same as before: it need not be drawn again.
 * @param {OverviewOrganisation | undefined} before
 * @param {OverviewOrganisation} organisation
 * @returns {OverviewOrganisation}
 */
function unchanged(before, organisation) {
  const known = new Map(before?.storehouses.map((one) => [one.store_house_id, one]));
  const storehouses = organisation.storehouses.map((storehouse) => {
    const same = known.get(storehouse.store_house_id);
    return same && JSON.stringify(same) === JSON.stringify(storehouse) ? same : storehouse;
  });
  return { ...organisation, storehouses };
}
