// The watched storehouse: its newest readings and its alarms.

import { computed, effect, signal, untracked } from "@preact/signals";
import { isActive } from "./alarm-state.js";
import { Refused, ask, connection, onPush, request } from "./socket.js";
import { findStorehouse } from "./storehouses.js";
import { now, setClock } from "./time.js";
import { personName } from "./user.js";

/** @import { Alarm, Alarms, Env, Envs, Id } from "../contract.js" */

const DAY = 24 * 60; // minutes
const MINUTE = 60_000; // milliseconds
// The last transitions of alarms that were never raised. These alarms are not shown.
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

/** The entry of the watched storehouse in the overview; undefined until the overview is loaded. */
export const watchedStorehouse = computed(() => {
  const id = watchedId.value;
  return id === null ? undefined : findStorehouse(String(id));
});

export const zone = computed(() => watchedStorehouse.value?.storehouse.time_zone ?? "UTC");

/** The alarms of the watched storehouse in the last day, newest first. */
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
 * Watch this storehouse instead of the one before.
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

/**
 * Acknowledge an alarm. Throw `Refused` if the server refuses.
 * @param {Alarm} alarm
 * @param {string} comment
 */
export async function acknowledge(alarm, comment) {
  addAnswer(await request("ackAlarm", { alarm_id: alarm.alarm_id, comment, by: personName.value }));
}

/**
 * Close an alarm by hand. Throw `Refused` if the server refuses.
 * @param {Alarm} alarm
 * @param {string} reason
 */
export async function close(alarm, reason) {
  addAnswer(await request("closeAlarm", { alarm_id: alarm.alarm_id, reason, by: personName.value }));
}

/** @param {Alarm | null} alarm from an answer, which is newer than any push */
function addAnswer(alarm) {
  if (alarm && "alarm_id" in alarm) alarmsById.value = withAlarms(alarmsById.peek(), [alarm]);
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
    // Only this answer and `alarms` set the cursor. A pushed `envs` does not set it, because `envs` may arrive before
    // alarms that its cursor already includes. Alarms that were pushed after the answer may be handled before it, because
    // both can arrive in one packet.
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
  // Alarms that were pushed in the meantime are newer than the alarms in the answer.
  alarmsById.value = withAlarms(withAlarms(new Map(), answer), [...alarmsById.peek().values()]);
  alarmsLoaded.value = true;
}

/**
 * Add alarms. Leave out alarms that were cleared before the last day.
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
  // A server that has lost its connection to the database may have no readings. The page then keeps the last readings
  // and marks them as not current.
  envs.value = pushed.stale && pushed.envs.length === 0 && before ? { ...pushed, envs: before.envs } : pushed;
  for (const env of pushed.envs) for (const listener of listeners) listener(env);
}

/** @param {Alarms} pushed */
function addPushedAlarms(pushed) {
  alarmsById.value = withAlarms(alarmsById.peek(), pushed.alarms);
  cursor = pushed.cursor;
}

/**
 * Ids in an address are strings; ids from the server may be numbers.
 * @param {Id} store_house_id
 */
function isWatched(store_house_id) {
  return String(store_house_id) === String(watchedId.peek());
}
