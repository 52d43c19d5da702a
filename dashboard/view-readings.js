// The readings of a storehouse, one tile a sensor. Tiles stay and only their texts change: nothing flickers.

import { make, write } from "./elements.js";
import { age, clock, measured } from "./formats.js";
import { say } from "./words.js";

/** @import { Alarm, Env } from "./contract.js" */

const QUALITY = /** @type {const} */ ({ good: "good", stale: "old", bad: "bad" });
const SEVERITIES = /** @type {const} */ (["info", "warning", "critical"]);

export class ReadingsView {
  #list;
  /** @type {Map<string, {tile: Tile, env: Env}>} */
  #shown = new Map();

  /** @param {Element} list */
  constructor(list) {
    this.#list = list;
  }

  /**
   * @param {Env[]} envs
   * @param {Alarm[]} alarms
   * @param {string} zone
   * @param {number} now
   */
  show(envs, alarms, zone, now) {
    const before = this.#shown;
    const local = clock(zone, now);
    this.#shown = new Map();
    for (const env of envs) {
      const key = JSON.stringify([env.sensor_id, env.metric]); // one sensor may measure several things
      const tile = before.get(key)?.tile ?? new Tile();
      tile.show(env, worst(alarms, env), local);
      this.#shown.set(key, { tile, env });
    }
    this.#arrange();
    this.tick(now);
  }

  /**
   * Let the ages grow.
   * @param {number} now
   */
  tick(now) {
    for (const { tile, env } of this.#shown.values()) tile.tick(env, now);
  }

  #arrange() {
    const tiles = Array.from(this.#shown.values(), ({ tile }) => tile.element);
    const same = tiles.length === this.#list.children.length && tiles.every((tile, i) => tile === this.#list.children[i]);
    if (!same) this.#list.replaceChildren(...tiles);
  }
}

class Tile {
  #name = make("span", "name");
  #number = make("span", "number");
  #unit = make("span", "unit");
  #quality = make("span", "quality");
  #alarm = make("span", "severity");
  #age = make("span", "age");
  #time = make("time", "time");
  element = make(
    "li",
    "reading",
    this.#name,
    make("span", "value", this.#number, " ", this.#unit),
    make("span", "marks", this.#quality, this.#alarm),
    make("span", "when", this.#age, " ", this.#time),
  );

  /**
   * @param {Env} env
   * @param {typeof SEVERITIES[number] | null} severity of the worst alarm that is active
   * @param {(time: string) => string} local
   */
  show(env, severity, local) {
    const { value, unit } = measured(env.metric, env.value, env.unit);
    write(this.#name, env.sensor_name);
    write(this.#number, value);
    write(this.#unit, unit);
    write(this.#quality, say(QUALITY[env.quality]));
    write(this.#alarm, severity ? say(severity) : "");
    write(this.#time, env.time === null ? "" : local(env.time));
    this.#time.dateTime = env.time ?? "";
    this.element.dataset.quality = env.quality;
    this.element.toggleAttribute("data-empty", env.value === null);
    this.#alarm.dataset.severity = severity ?? "";
  }

  /**
   * @param {Env} env
   * @param {number} now
   */
  tick(env, now) {
    write(this.#age, env.time === null ? say("never") : age((now - Date.parse(env.time)) / 1000));
  }
}

/**
 * @param {Alarm[]} alarms
 * @param {Env} env
 */
function worst(alarms, env) {
  const ranks = alarms
    .filter((alarm) => alarm.state === "active" && alarm.sensor_id === env.sensor_id && alarm.metric === env.metric)
    .map((alarm) => SEVERITIES.indexOf(alarm.severity));
  return SEVERITIES[Math.max(...ranks)] ?? null;
}
