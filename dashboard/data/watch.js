// The storehouse that is watched: its readings and alarms as last heard.

import { computed, effect, signal, untracked } from "@preact/signals";
import { findPlace } from "./places.js";
import { Refused, ask, connection, onPush } from "./socket.js";
import { now, setClock } from "./time.js";

/** @import { Alarm, Alarms, Env, Envs, Id } from "../contract.js" */

const DAY = 24 * 60; // minutes
const MINUTE = 60_000; // milliseconds
// What never came to be: nothing that a person should see any more.
const UNMADE = ["dismissed", "withdrawn"];

/** @type {import("@preact/signals").Signal<Id | null>} */
export const watchedId = signal(null);
/** @type {import("@preact/signals").Signal<Envs | null>} */
export const envs = signal(null);
/** @type {import("@preact/signals").Signal<Refused | null>} */
export const refused = signal(null);
export const alarmsKnown = signal(false);
/** @type {import("@preact/signals").Signal<ReadonlyMap<Id, Alarm>>} */
const heard = signal(new Map());

/** Its place in the list, undefined while that is not known. */
export const watchedPlace = computed(() => {
  const id = watchedId.value;
  return id === null ? undefined : findPlace(String(id));
});

export const zone = computed(() => watchedPlace.value?.storehouse.time_zone ?? "UTC");

/** All alarms that are known of it, newest first. */
export const alarms = computed(() =>
  [...heard.value.values()].sort((one, other) => Date.parse(other.raised) - Date.parse(one.raised)),
);

export const activeAlarms = computed(() => alarms.value.filter((alarm) => alarm.state === "active"));

/** @type {number | null} */
let cursor = null;
let turn = 0;

/** @type {((env: Env) => void)[]} */
const listeners = [];

/**
 * Hear each reading that is pushed.
 * @param {(env: Env) => void} listener
 */
export function onReading(listener) {
  listeners.push(listener);
}

onPush("envs", take);
onPush("alarms", (pushed) => {
  if (isWatched(pushed.store_house_id)) merge(pushed);
});
effect(() => {
  const id = watchedId.value;
  if (connection.value === "connected") untracked(() => begin(id));
});

/**
 * Watch this storehouse and leave the one watched before.
 * @param {Id | null} id
 */
export function follow(id) {
  if (id === watchedId.peek()) return;
  envs.value = null;
  refused.value = null;
  cursor = null;
  forgetAlarms();
  watchedId.value = id;
}

/** @param {Alarm} alarm as an answer tells it: newer than what was heard */
export function learn(alarm) {
  heard.value = withAlarms(heard.peek(), [alarm]);
}

/** @param {Id | null} store_house_id */
async function begin(store_house_id) {
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
    // Only from here and from `alarms`: a later `envs` may overtake the alarms its cursor counts.
    // Alarms pushed after the answer may have been heard before it: both came in one piece.
    cursor = answer.reset ? answer.cursor : Math.max(answer.cursor, cursor ?? 0);
    if (!alarmsKnown.value) await askAlarms(store_house_id, wanted);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refused.value = error;
  }
}

/**
 * @param {Id} store_house_id
 * @param {() => boolean} wanted
 */
async function askAlarms(store_house_id, wanted) {
  const answer = await ask("queryAlarms", { store_house_id, data_minute: DAY }, wanted);
  if (!answer) return;
  // What was pushed while we waited is newer than the answer.
  heard.value = withAlarms(withAlarms(new Map(), answer), [...heard.peek().values()]);
  alarmsKnown.value = true;
}

/**
 * The alarms with those of `told`, and without what no longer is of the last day.
 * @param {ReadonlyMap<Id, Alarm>} known
 * @param {Alarm[]} told
 */
function withAlarms(known, told) {
  const dayAgo = now.peek() - DAY * MINUTE;
  const all = new Map([...known].filter(([, alarm]) => alarm.cleared === null || Date.parse(alarm.cleared) > dayAgo));
  for (const alarm of told) {
    if (UNMADE.includes(alarm.transition ?? "")) all.delete(alarm.alarm_id);
    else all.set(alarm.alarm_id, alarm);
  }
  return all;
}

function forgetAlarms() {
  heard.value = new Map();
  alarmsKnown.value = false;
}

/** @param {Envs} told */
function take(told) {
  const before = envs.peek();
  if (!isWatched(told.store_house_id)) return;
  if (!told.stale) setClock(told.time);
  // A server that lost its database may know no readings any more: those we have, marked, are better than none.
  envs.value = told.stale && told.envs.length === 0 && before ? { ...told, envs: before.envs } : told;
  for (const env of told.envs) for (const listener of listeners) listener(env);
}

/** @param {Alarms} pushed */
function merge(pushed) {
  heard.value = withAlarms(heard.peek(), pushed.alarms);
  cursor = pushed.cursor;
}

/**
 * An address carries ids as strings, the server as it has them.
 * @param {Id} store_house_id
 */
function isWatched(store_house_id) {
  return String(store_house_id) === String(watchedId.peek());
}
