// What one can do with an alarm, where the server lets one.

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { Question } from "./dialog.js";
import { acknowledge, close } from "../data/actions.js";
import { connection, offers, probe } from "../data/socket.js";
import { may } from "../data/who.js";
import { say } from "../words/say.js";

/** @import { Alarm } from "../contract.js" */

const REASONS = /** @type {const} */ (["reason_faulty", "reason_removed"]);

/** A site's own alarms have no `transition`: its own system looks after them. @param {{alarm: Alarm}} props */
export function AlarmActions({ alarm }) {
  const [asked, setAsked] = useState(/** @type {"ack" | "close" | null} */ (null));
  const possible = alarm.transition !== undefined && alarm.cleared === null && may("operate");
  useEffect(() => {
    if (!possible || connection.value !== "connected") return;
    probe("ackAlarm");
    probe("closeAlarm");
  }, [possible, connection.value]);
  const done = () => setAsked(null);
  if (!possible) return null;
  return html`<span class="actions">
    ${offers("ackAlarm") && !alarm.acknowledged && html`<button type="button" onClick=${() => setAsked("ack")}>${say("acknowledge")}</button>`}
    ${offers("closeAlarm") && html`<button type="button" onClick=${() => setAsked("close")}>${say("close")}</button>`}
    ${asked === "ack" &&
    html`<${Question} title="acknowledge" label="comment" needed=${false} act=${(/** @type {string} */ text) => acknowledge(alarm, text)} done=${done} />`}
    ${asked === "close" &&
    html`<${Question} title="close" label="reason" needed choices=${REASONS} act=${(/** @type {string} */ text) => close(alarm, text)} done=${done} />`}
  </span>`;
}
