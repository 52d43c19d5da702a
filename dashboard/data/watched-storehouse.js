// The storehouse that is watched: its newest readings and its alarms.

import { computed, effect, signal, untracked } from "@preact/signals";
import { isActive } from "./alarm-state.js";
import { Refused, ask, connection, onPush } from "./socket.js";
import { findStorehouse } from "./storehouses.js";
import { now, setClock } from "./time.js";

/** @import { Alarm, Alarms, Env, Envs, Id } from "../contract.js" */

const DAY = 24 * 60; // minutes
const MINUTE = 60_000; // milliseconds
// The last transition of an alarm that never came to be: it is not shown any more.
const VOID_TRANSITIONS = ["dismissed", "withdrawn"];

/** @type {import("@preact/signals").Signal<Id | null>} */
export const watchedId = signal(null);
/** @type {import("@preact/signals").Signal<Envs | null>} */
export const envs = signal(null);
/** @type {import("@preact/signals").Signal<Refused | null>} */
export const refused = signal(null);
export const alarmsLoaded = signal(false);
/** @type {import("@preact/signals").Signal<ReadonlyMap<Id, Alarm>>} */
const alarmsById = signal(new Map());

/** Its entry in the overview, undefined until that is there. */
export const watchedStorehouse = computed(() => {
  const id = watchedId.value;
  return id === null ? undefined : findStorehouse(String(id));
});

export const zone = computed(() => watchedStorehouse.value?.storehouse.time_zone ?? "UTC");

/** All its alarms of the last day, newest first. */
export const alarms = computed(() =>
  [...alarmsById.value.values()].sort((first, second) => Date.parse(second.raised) - Date.parse(first.raised)),
);

export const activeAlarms = computed(() => alarms.value.filter(isActive));

/** @type {number | null} */
let cursor = null;
let turn = 0;

/** @type {((env: Env) => void)[]} */
const listeners = [];

/**
 * Call `listener` with each reading that is pushed.
 * @param {(env: Env) => void} listener
 */
export function onReading(listener) {
  listeners.push(listener);
}

onPush("envs", showEnvs);
onPush("alarms", (pushed) => {
  if (isWatched(pushed.store_house_id)) addPushedAlarms(pushed);
});
effect(() => {
  const id = watchedId.value;
  if (connection.value === "connected") untracked(() => register(id));
});

/**
 * Watch this storehouse and leave the one watched before.
 * @param {Id | null} id
 */
export function watchStorehouse(id) {
  if (id === watchedId.peek()) return;
  envs.value = null;
  refused.value = null;
  cursor = null;
  forgetAlarms();
  watchedId.value = id;
}

/** @param {Alarm} alarm from an answer: newer than what was pushed */
export function addAlarm(alarm) {
  alarmsById.value = withAlarms(alarmsById.peek(), [alarm]);
}

/** @param {Id | null} store_house_id */
async function register(store_house_id) {
  const mine = ++turn;
  const wanted = () => mine === turn;
  if (store_house_id === null) {
    await ask("unregister", undefined, wanted);
    return;
  }
  const since = cursor === null ? {} : { cursor };
  try {
    const answer = await ask("register", { store_house_id, ...since }, wanted);
    if (!answer) return;
    if (answer.reset) forgetAlarms();
    // The cursor is set here and by `alarms` only: a later `envs` may overtake the alarms its cursor counts.
    // Alarms pushed after the answer may have been handled before it: both came in one piece.
    cursor = answer.reset ? answer.cursor : Math.max(answer.cursor, cursor ?? 0);
    if (!alarmsLoaded.value) await loadAlarms(store_house_id, wanted);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refused.value = error;
  }
}

/**
 * @param {Id} store_house_id
 * @param {() => boolean} wanted
 */
async function loadAlarms(store_house_id, wanted) {
  const answer = await ask("queryAlarms", { store_house_id, data_minute: DAY }, wanted);
  if (!answer) return;
  // What was pushed while we waited is newer than the answer.
  alarmsById.value = withAlarms(withAlarms(new Map(), answer), [...alarmsById.peek().values()]);
  alarmsLoaded.value = true;
}

/**
 * The alarms with those of `added`, and without those that were over before the last day.
 * @param {ReadonlyMap<Id, Alarm>} before
 * @param {Alarm[]} added
 */
function withAlarms(before, added) {
  const dayAgo = now.peek() - DAY * MINUTE;
  const all = new Map([...before].filter(([, alarm]) => alarm.cleared === null || Date.parse(alarm.cleared) > dayAgo));
  for (const alarm of added) {
    if (VOID_TRANSITIONS.includes(alarm.transition ?? "")) all.delete(alarm.alarm_id);
    else all.set(alarm.alarm_id, alarm);
  }
  return all;
}

function forgetAlarms() {
  alarmsById.value = new Map();
  alarmsLoaded.value = false;
}

/** @param {Envs} pushed */
function showEnvs(pushed) {
  const before = envs.peek();
  if (!isWatched(pushed.store_house_id)) return;
  if (!pushed.stale) setClock(pushed.time);
  // A server that lost its database may have no readings any more: ours, marked as not current, are better than none.
  envs.value = pushed.stale && pushed.envs.length === 0 && before ? { ...pushed, envs: before.envs } : pushed;
  for (const env of pushed.envs) for (const listener of listeners) listener(env);
}

/** @param {Alarms} pushed */
function addPushedAlarms(pushed) {
  alarmsById.value = withAlarms(alarmsById.peek(), pushed.alarms);
  cursor = pushed.cursor;
}

/**
 * An address carries ids as strings, the server as it has them.
 * @param {Id} store_house_id
 */
function isWatched(store_house_id) {
  return String(store_house_id) === String(watchedId.peek());
}
