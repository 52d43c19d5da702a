// The buttons that acknowledge and close an alarm. They are shown only if the user may use them.

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { Question } from "./form.js";
import { acknowledge, close } from "../data/watched-storehouse.js";
import { isOpen } from "../data/alarm-state.js";
import { connection, offers, probe } from "../data/socket.js";
import { may } from "../data/user.js";
import { translate } from "../words/translate.js";

/** @import { Alarm } from "../contract.js" */

const REASONS = /** @type {const} */ (["reason_faulty", "reason_removed"]);

/** An alarm from the site's own system has no `transition`, and therefore no buttons. @param {{alarm: Alarm}} props */
export function AlarmActions({ alarm }) {
  const [asked, setAsked] = useState(/** @type {"ack" | "close" | null} */ (null));
  const possible = alarm.transition !== undefined && isOpen(alarm) && may("operate");
  useEffect(() => {
    if (!possible || connection.value !== "connected") return;
    probe("ackAlarm");
    probe("closeAlarm");
  }, [possible, connection.value]);
  const done = () => setAsked(null);
  if (!possible) return null;
  return html`<span class="actions">
    ${offers("ackAlarm") && !alarm.acknowledged && html`<button type="button" onClick=${() => setAsked("ack")}>${translate("acknowledge")}</button>`}
    ${offers("closeAlarm") && html`<button type="button" onClick=${() => setAsked("close")}>${translate("close")}</button>`}
    ${asked === "ack" &&
    html`<${Question} title="acknowledge" label="field_comment" needed=${false} act=${(/** @type {string} */ text) => acknowledge(alarm, text)} done=${done} />`}
    ${asked === "close" &&
    html`<${Question} title="close" label="field_reason" needed choices=${REASONS} act=${(/** @type {string} */ text) => close(alarm, text)} done=${done} />`}
  </span>`;
}
