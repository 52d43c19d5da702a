// The storehouse that is watched: its readings and alarms as last heard.

import { Refused, ask, onConnection, onPush } from "./socket.js";

/** @import { Alarm, Alarms, Envs, Id, Storehouse } from "./contract.js" */

const DAY = 24 * 60; // minutes

export class Watch {
  /** @type {Storehouse | null} */
  storehouse = null;
  /** @type {Envs | null} */
  envs = null;
  /** @type {Refused | null} */
  refused = null;
  alarmsKnown = false;
  /** @type {Map<Id, Alarm>} */
  #alarms = new Map();
  /** @type {number | null} */
  #cursor = null;
  #ahead = 0;
  #turn = 0;
  #changed;
  #moved;

  /**
   * @param {() => void} changed
   * @param {() => void} moved when no more than the readings has changed
   */
  constructor(changed, moved) {
    this.#changed = changed;
    this.#moved = moved;
    onPush("envs", (envs) => this.#take(envs));
    onPush("alarms", (alarms) => this.#merge(alarms));
    onConnection((connected) => {
      this.#turn += 1;
      if (connected && this.storehouse) this.#register(this.storehouse.store_house_id);
    });
  }

  /**
   * Watch this storehouse and leave the one watched before.
   * @param {Storehouse | null} storehouse
   */
  follow(storehouse) {
    this.#turn += 1;
    this.storehouse = storehouse;
    this.envs = null;
    this.refused = null;
    this.#cursor = null;
    this.#forgetAlarms();
    this.#changed();
    if (storehouse) this.#register(storehouse.store_house_id);
    else this.#unregister();
  }

  /** The server's time, in milliseconds: a reading's age must not depend on this computer's clock. */
  now() {
    return Date.now() + this.#ahead;
  }

  /** The alarms of the last day, newest first. */
  alarms() {
    const dayAgo = this.now() - DAY * 60_000;
    return [...this.#alarms.values()]
      .filter((alarm) => alarm.cleared === null || Date.parse(alarm.cleared) > dayAgo)
      .sort((one, other) => Date.parse(other.raised) - Date.parse(one.raised));
  }

  /** @param {Id} store_house_id */
  async #register(store_house_id) {
    const turn = this.#turn;
    const wanted = () => turn === this.#turn;
    const since = this.#cursor === null ? {} : { cursor: this.#cursor };
    try {
      const envs = await ask("register", { store_house_id, ...since }, wanted);
      if (!envs) return;
      if (envs.reset) this.#forgetAlarms();
      // Only from here and from `alarms`: a later `envs` may overtake the alarms its cursor counts.
      // Alarms pushed after the answer may have been heard before it: both came in one piece.
      this.#cursor = envs.reset ? envs.cursor : Math.max(envs.cursor, this.#cursor ?? 0);
      if (!this.alarmsKnown) await this.#askAlarms(store_house_id, wanted);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.refused = error;
      this.#changed();
    }
  }

  async #unregister() {
    const turn = this.#turn;
    await ask("unregister", undefined, () => turn === this.#turn);
  }

  /**
   * @param {Id} store_house_id
   * @param {() => boolean} wanted
   */
  async #askAlarms(store_house_id, wanted) {
    const alarms = await ask("queryAlarms", { store_house_id, data_minute: DAY }, wanted);
    if (!alarms) return;
    for (const alarm of alarms) {
      // What was pushed while we waited is newer than the answer.
      if (!this.#alarms.has(alarm.alarm_id)) this.#alarms.set(alarm.alarm_id, alarm);
    }
    this.alarmsKnown = true;
    this.#changed();
  }

  #forgetAlarms() {
    this.#alarms.clear();
    this.alarmsKnown = false;
  }

  /** @param {Envs} envs */
  #take(envs) {
    if (envs.store_house_id !== this.storehouse?.store_house_id) return;
    // A server that lost its database may know no readings any more: those we have, marked, are better than none.
    const first = this.envs === null;
    const kept = envs.stale && envs.envs.length === 0 ? this.envs?.envs : undefined;
    this.envs = kept ? { ...envs, envs: kept } : envs;
    if (!envs.stale) this.#ahead = Date.parse(envs.time) - Date.now();
    if (first) this.#changed();
    else this.#moved();
  }

  /** @param {Alarms} pushed */
  #merge(pushed) {
    if (pushed.store_house_id !== this.storehouse?.store_house_id) return;
    for (const alarm of pushed.alarms) this.#alarms.set(alarm.alarm_id, alarm);
    this.#cursor = pushed.cursor;
    this.#changed();
  }
}
