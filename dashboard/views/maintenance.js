// The list of maintenance, during which no notifications are sent, and the form for new maintenance.

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { ErrorText, NameField, onText, Question, useAttempt } from "../components/form.js";
import { endMaintenance, saveMaintenance } from "../data/rules.js";
import { offers } from "../data/socket.js";
import { minute, now } from "../data/time.js";
import { envs, zone } from "../data/watched-storehouse.js";
import { may } from "../data/user.js";
import { displayName, translate } from "../words/translate.js";
import { clock, instant, offset, usableZone } from "../words/times.js";

/** @import { Id, Maintenance } from "../contract.js" */

const HOUR = 3_600_000; // milliseconds

/** @param {{all: Maintenance[], store_house_id: Id, saved: () => void}} props */
export function MaintenanceList({ all, store_house_id, saved }) {
  const here = all.filter((maintenance) => String(maintenance.store_house_id) === String(store_house_id));
  return html`<section class="maintenance">
    <h3>${translate("maintenance")} <small>${usableZone(zone.value)}</small></h3>
    <p class="quiet">${translate("maintenanceHint")}</p>
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
    ${asked && html`<${Question} title="endNow" label="field_reason" needed=${false} act=${end} done=${() => setAsked(false)} />`}
  </li>`;
}

/** @param {Id | null} sensor_id */
function nameOf(sensor_id) {
  if (sensor_id === null) return translate("wholeStorehouse");
  const sensor = envs.value?.envs.find((env) => String(env.sensor_id) === String(sensor_id));
  return displayName(sensor?.sensor_name ?? String(sensor_id));
}

/** @param {{store_house_id: Id, saved: () => void}} props */
function NewMaintenance({ store_house_id, saved }) {
  const [start, setStart] = useState(() => localInput(now.peek()));
  const [end, setEnd] = useState(() => localInput(now.peek() + 2 * HOUR));
  const [sensor, setSensor] = useState("");
  const [reason, setReason] = useState("");
  const { attempt, busy, refused } = useAttempt();
  const sensors = new Map((envs.value?.envs ?? []).map((env) => [String(env.sensor_id), env]));
  const sensor_id = sensors.get(sensor)?.sensor_id;

  /** @param {Event} event */
  function submit(event) {
    event.preventDefault();
    attempt(async () => {
      await saveMaintenance({ store_house_id, sensor_id, start: fromLocalInput(start), end: fromLocalInput(end), reason });
      saved();
    });
  }

  return html`<details>
    <summary>${translate("newMaintenance")}</summary>
    <form class="panel" onSubmit=${submit}>
      <div class="fields">
        <label>${translate("field_start")} <input type="datetime-local" required value=${start} onInput=${onText(setStart)} /></label>
        <label>${translate("field_end")} <input type="datetime-local" required min=${start} value=${end} onInput=${onText(setEnd)} /></label>
        <label>
          ${translate("maintenanceScope")}
          <select value=${sensor} onChange=${onText(setSensor)}>
            <option value="">${translate("wholeStorehouse")}</option>
            ${[...sensors].map(([id, env]) => html`<option key=${id} value=${id}>${displayName(env.sensor_name)}</option>`)}
          </select>
        </label>
        <label>${translate("field_reason")} <input required maxlength="1000" value=${reason} onInput=${onText(setReason)} /></label>
      </div>
      <p class="buttons"><${NameField} /> <button type="submit" disabled=${busy}>${translate("save")}</button></p>
      <${ErrorText} refused=${refused} />
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
