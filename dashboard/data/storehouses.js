// All visible organisations and storehouses and their states, from the answer and the pushes of `overview`.

import { computed, effect, signal, untracked } from "@preact/signals";
import { compareSeverities, compareStorehouseStates } from "./severity.js";
import { ask, connection, onPush } from "./socket.js";
import { setClock } from "./time.js";

/** @import { Id, Overview, OverviewOrganisation } from "../contract.js" */
/** @import { StorehouseEntry } from "../types.js" */

const BATCH = 100; // milliseconds; all pushes within this time are shown together

/** @type {import("@preact/signals").Signal<OverviewOrganisation[] | null>} null until the server has answered */
const organisations = signal(null);

/** @type {import("@preact/signals").Signal<Overview | null>} */
export const lastOverview = signal(null);

/** All visible storehouses; null until the server has answered. */
export const storehouses = computed(() => organisations.value?.flatMap(entriesOf) ?? null);

/** All visible storehouses, the worst first. Storehouses with the same state are in the server's order. */
export const worstFirst = computed(
  () =>
    storehouses.value?.toSorted((first, second) =>
      compareStorehouseStates(first.storehouse.state, second.storehouse.state),
    ) ?? null,
);

/** The number of open alarms in all storehouses, and the worst severity of these alarms. */
export const openAlarms = computed(() => {
  const all = (storehouses.value ?? []).map((entry) => entry.storehouse.alarms);
  return {
    open: all.reduce((sum, alarms) => sum + alarms.open, 0),
    unacknowledged: all.reduce((sum, alarms) => sum + alarms.unacknowledged, 0),
    worst: all.flatMap((alarms) => alarms.worst ?? []).toSorted(compareSeverities)[0] ?? null,
  };
});

onPush("overview", addOverview);
effect(() => {
  if (connection.value === "connected") untracked(load);
});

/**
 * @param {string} id from the address, so always a string
 * @returns {StorehouseEntry | undefined}
 */
export function findStorehouse(id) {
  return storehouses.value?.find((entry) => String(entry.storehouse.store_house_id) === id);
}

/**
 * @param {OverviewOrganisation} organisation
 * @returns {StorehouseEntry[]}
 */
function entriesOf({ org_id, org_name, storehouses }) {
  return storehouses.map((storehouse) => ({ storehouse, org_id, org_name }));
}

let turn = 0;

function load() {
  const mine = ++turn;
  return ask("overview", undefined, () => mine === turn); // the answer also arrives as the event `overview`
}

/** @type {Map<Id, OverviewOrganisation>} organisations that were received but are not shown yet */
const pending = new Map();
let isWhole = true; // the first answer after connecting has all organisations; later pushes have only changed ones
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/** @param {Overview} overview */
function addOverview(overview) {
  lastOverview.value = overview;
  if (!overview.stale) setClock(overview.time);
  for (const organisation of overview.organisations) pending.set(organisation.org_id, organisation);
  if (isWhole) showPending();
  else timer ??= setTimeout(showPending, BATCH);
}

function showPending() {
  clearTimeout(timer);
  timer = undefined;
  const shown = new Map(organisations.peek()?.map((organisation) => [organisation.org_id, organisation]));
  const fresh = new Map([...pending].map(([id, organisation]) => [id, keepUnchanged(shown.get(id), organisation)]));
  organisations.value = [...(isWhole ? fresh : new Map([...shown, ...fresh])).values()];
  pending.clear();
  isWhole = false;
}

effect(() => {
  if (connection.value !== "connected") isWhole = true;
});

/**
 * Return the new organisation, with the old objects of unchanged storehouses, so that these storehouses are not drawn
 * again.
 * @param {OverviewOrganisation | undefined} before
 * @param {OverviewOrganisation} organisation
 * @returns {OverviewOrganisation}
 */
function keepUnchanged(before, organisation) {
  const shown = new Map(before?.storehouses.map((storehouse) => [storehouse.store_house_id, storehouse]));
  const storehouses = organisation.storehouses.map((storehouse) => {
    const same = shown.get(storehouse.store_house_id);
    return same && JSON.stringify(same) === JSON.stringify(storehouse) ? same : storehouse;
  });
  return { ...organisation, storehouses };
}
