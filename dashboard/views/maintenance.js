// Maintenance, in which nobody is notified: the list, and a form for a new one.

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { Question } from "../components/dialog.js";
import { endMaintenance, saveMaintenance } from "../data/rules.js";
import { Refused, offers } from "../data/socket.js";
import { minute, now } from "../data/time.js";
import { envs, zone } from "../data/watched-storehouse.js";
import { may } from "../data/user.js";
import { instant, offset } from "../components/zone-clock.js";
import { NameField } from "../components/name-field.js";
import { translate } from "../words/translate.js";
import { clock, usableZone } from "../words/times.js";

/** @import { Id, Maintenance } from "../contract.js" */

const HOUR = 3_600_000; // milliseconds

/** @param {{all: Maintenance[], store_house_id: Id, saved: () => void}} props */
export function MaintenanceList({ all, store_house_id, saved }) {
  const here = all.filter((maintenance) => String(maintenance.store_house_id) === String(store_house_id));
  return html`<section class="maintenance">
    <h3>${translate("maintenance")} <small>${usableZone(zone.value)}</small></h3>
    <p class="quiet">${translate("maintenanceMeans")}</p>
    <ul>
      ${here.map((maintenance) => html`<${Row} key=${maintenance.maintenance_id} maintenance=${maintenance} ended=${saved} />`)}
    </ul>
    ${offers("saveMaintenance") && may("operate") && html`<${NewMaintenance} key=${here.length} store_house_id=${store_house_id} saved=${saved} />`}
  </section>`;
}

/** @param {{maintenance: Maintenance, ended: () => void}} props */
function Row({ maintenance, ended }) {
  const [asked, setAsked] = useState(false);
  const local = clock(zone.value, minute.value);
  /** @param {string} reason */
  async function end(reason) {
    await endMaintenance(maintenance, reason);
    ended();
  }
  return html`<li>
    <span>${translate("fromTo", { raised: local(maintenance.start), cleared: local(maintenance.end) })}</span>
    <bdi>${nameOf(maintenance.sensor_id)}</bdi> <bdi>${maintenance.reason}</bdi> <bdi class="quiet">${maintenance.by}</bdi>
    ${may("operate") && html`<button type="button" onClick=${() => setAsked(true)}>${translate("endNow")}</button>`}
    ${asked && html`<${Question} title="endNow" label="reason" needed=${false} act=${end} done=${() => setAsked(false)} />`}
  </li>`;
}

/** @param {Id | null} sensor_id */
function nameOf(sensor_id) {
  if (sensor_id === null) return translate("wholeStorehouse");
  return envs.value?.envs.find((env) => String(env.sensor_id) === String(sensor_id))?.sensor_name ?? String(sensor_id);
}

/** @param {{store_house_id: Id, saved: () => void}} props */
function NewMaintenance({ store_house_id, saved }) {
  const [start, setStart] = useState(() => localInput(now.peek()));
  const [end, setEnd] = useState(() => localInput(now.peek() + 2 * HOUR));
  const [sensor, setSensor] = useState("");
  const [reason, setReason] = useState("");
  const [error, setError] = useState("");
  const sensors = new Map((envs.value?.envs ?? []).map((env) => [String(env.sensor_id), env]));
  const sensor_id = sensors.get(sensor)?.sensor_id;

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    try {
      await saveMaintenance({ store_house_id, sensor_id, start: fromLocalInput(start), end: fromLocalInput(end), reason });
      saved();
    } catch (refused) {
      if (!(refused instanceof Refused)) throw refused;
      setError(translate("refused", { message: refused.message }));
    }
  }

  return html`<details>
    <summary>${translate("newMaintenance")}</summary>
    <form class="panel" onSubmit=${submit}>
      <div class="fields">
        <label>${translate("start")} <input type="datetime-local" required value=${start} onInput=${onText(setStart)} /></label>
        <label>${translate("end")} <input type="datetime-local" required min=${start} value=${end} onInput=${onText(setEnd)} /></label>
        <label>
          ${translate("maintenanceOf")}
          <select value=${sensor} onChange=${onText(setSensor)}>
            <option value="">${translate("wholeStorehouse")}</option>
            ${[...sensors].map(([id, env]) => html`<option key=${id} value=${id}>${env.sensor_name}</option>`)}
          </select>
        </label>
        <label>${translate("reason")} <input required maxlength="1000" value=${reason} onInput=${onText(setReason)} /></label>
      </div>
      <p class="buttons"><${NameField} /> <button type="submit">${translate("save")}</button></p>
      <p class="error" role="alert">${error}</p>
    </form>
  </details>`;
}

/** @param {number} time milliseconds */
function localInput(time) {
  return new Date(time + offset(zone.peek(), time)).toISOString().slice(0, 16);
}

/** @param {string} text */
function fromLocalInput(text) {
  return new Date(instant(zone.peek(), Date.parse(`${text}Z`))).toISOString();
}

/** @param {(text: string) => void} setText */
function onText(setText) {
  return (/** @type {any} */ event) => setText(event.currentTarget.value);
}
