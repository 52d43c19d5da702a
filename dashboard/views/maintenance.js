// When nobody is to be disturbed: the times that are known, and a new one.

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { Question } from "../parts/dialog.js";
import { endMaintenance, saveMaintenance } from "../data/rules.js";
import { Refused, offers } from "../data/socket.js";
import { minute, now } from "../data/time.js";
import { envs, zone } from "../data/watch.js";
import { may } from "../data/who.js";
import { instant, offset } from "../parts/wall-time.js";
import { YourName } from "../parts/your-name.js";
import { say } from "../words/say.js";
import { clock, knownZone } from "../words/times.js";

/** @import { Id, Maintenance } from "../contract.js" */

const HOUR = 3_600_000; // milliseconds

/** @param {{all: Maintenance[], store_house_id: Id, saved: () => void}} props */
export function MaintenanceTimes({ all, store_house_id, saved }) {
  const here = all.filter((one) => String(one.store_house_id) === String(store_house_id));
  return html`<section class="maintenance">
    <h3>${say("maintenance")} <small>${knownZone(zone.value)}</small></h3>
    <p class="quiet">${say("maintenanceMeans")}</p>
    <ul>${here.map((one) => html`<${Time} key=${one.maintenance_id} time=${one} ended=${saved} />`)}</ul>
    ${offers("saveMaintenance") && may("operate") && html`<${NewTime} key=${here.length} store_house_id=${store_house_id} saved=${saved} />`}
  </section>`;
}

/** @param {{time: Maintenance, ended: () => void}} props */
function Time({ time, ended }) {
  const [asked, setAsked] = useState(false);
  const local = clock(zone.value, minute.value);
  /** @param {string} reason */
  async function end(reason) {
    await endMaintenance(time, reason);
    ended();
  }
  return html`<li>
    <span>${say("fromTo", { raised: local(time.start), cleared: local(time.end) })}</span>
    <bdi>${nameOf(time.sensor_id)}</bdi> <bdi>${time.reason}</bdi> <bdi class="quiet">${time.by}</bdi>
    ${may("operate") && html`<button type="button" onClick=${() => setAsked(true)}>${say("endNow")}</button>`}
    ${asked && html`<${Question} title="endNow" label="reason" needed=${false} act=${end} done=${() => setAsked(false)} />`}
  </li>`;
}

/** @param {Id | null} sensor_id */
function nameOf(sensor_id) {
  if (sensor_id === null) return say("wholeStorehouse");
  return envs.value?.envs.find((env) => String(env.sensor_id) === String(sensor_id))?.sensor_name ?? String(sensor_id);
}

/** @param {{store_house_id: Id, saved: () => void}} props */
function NewTime({ store_house_id, saved }) {
  const [start, setStart] = useState(() => onTheWall(now.peek()));
  const [end, setEnd] = useState(() => onTheWall(now.peek() + 2 * HOUR));
  const [sensor, setSensor] = useState("");
  const [reason, setReason] = useState("");
  const [told, setTold] = useState("");
  const sensors = new Map((envs.value?.envs ?? []).map((env) => [String(env.sensor_id), env]));
  const sensor_id = sensors.get(sensor)?.sensor_id;

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    try {
      await saveMaintenance({ store_house_id, sensor_id, start: fromTheWall(start), end: fromTheWall(end), reason });
      saved();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      setTold(say("refused", { message: error.message }));
    }
  }

  return html`<details>
    <summary>${say("newMaintenance")}</summary>
    <form class="panel" onSubmit=${submit}>
      <div class="fields">
        <label>${say("start")} <input type="datetime-local" required value=${start} onInput=${write(setStart)} /></label>
        <label>${say("end")} <input type="datetime-local" required min=${start} value=${end} onInput=${write(setEnd)} /></label>
        <label>
          ${say("maintenanceOf")}
          <select value=${sensor} onChange=${write(setSensor)}>
            <option value="">${say("wholeStorehouse")}</option>
            ${[...sensors].map(([id, env]) => html`<option key=${id} value=${id}>${env.sensor_name}</option>`)}
          </select>
        </label>
        <label>${say("reason")} <input required maxlength="1000" value=${reason} onInput=${write(setReason)} /></label>
      </div>
      <p class="buttons"><${YourName} /> <button type="submit">${say("save")}</button></p>
      <p class="error" role="alert">${told}</p>
    </form>
  </details>`;
}

/** @param {number} time milliseconds */
function onTheWall(time) {
  return new Date(time + offset(zone.peek(), time)).toISOString().slice(0, 16);
}

/** @param {string} text */
function fromTheWall(text) {
  return new Date(instant(zone.peek(), Date.parse(`${text}Z`))).toISOString();
}

/** @param {(text: string) => void} heard */
function write(heard) {
  return (/** @type {any} */ event) => heard(event.currentTarget.value);
}
