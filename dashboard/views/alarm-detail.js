// The page of one alarm, with its chart, limits and timeline.

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { AlarmActions } from "../components/alarm-actions.js";
import { AlarmChart } from "../components/alarm-chart.js";
import { SeverityMark } from "../components/state-mark.js";
import { followAlarmHistory } from "../data/history.js";
import { endOf, startOf } from "../data/alarm-state.js";
import { now } from "../data/time.js";
import { alarms, watchedId, zone } from "../data/watched-storehouse.js";
import { route, toStorehouse } from "../route.js";
import { describeAlarm, formatAlarmValue } from "../words/alarms.js";
import { translateCode, translate } from "../words/translate.js";
import { clock, duration, usableZone } from "../words/times.js";
import { metricName } from "../words/values.js";
import { Flags, List, subjectOf, unitOfAlarm } from "./alarms.js";

/** @import { Alarm, Limit } from "../contract.js" */

const DAY = 86_400_000; // milliseconds

/** @param {{id: string}} props */
export function AlarmDetail({ id }) {
  const [history, setHistory] = useState(/** @type {Alarm[] | null} */ (null));
  const raised = Date.parse(route.value.options.get("raised") ?? "");
  useEffect(() => {
    const storehouse = watchedId.peek();
    if (storehouse === null) return undefined;
    const since = Number.isNaN(raised) ? now.peek() - DAY : raised;
    return followAlarmHistory(storehouse, since, (answer) => setHistory(answer.alarms ?? []));
  }, [id, raised]);
  const isThis = (/** @type {Alarm} */ candidate) => String(candidate.alarm_id) === id;
  const alarm = alarms.value.find(isThis) ?? history?.find(isThis);
  const back = toStorehouse(route.value.storehouse, "alarms");
  if (!alarm) {
    const text = translate(history ? "error_unknown_alarm" : "loading");
    return html`<p class="notice">${text} <a href=${back}>${translate("toAlarms")}</a></p>`;
  }
  const all = new Map([...(history ?? []), ...alarms.value].map((other) => [other.alarm_id, other]));
  const parts = [...all.values()].filter((other) => other.cause === alarm.alarm_id);
  return html`<section class="episode">
    <p class="crumbs"><a href=${back}>${translate("toAlarms")}</a></p>
    <div class="episode-title">
      <${SeverityMark} severity=${alarm.severity} />
      <h2><bdi>${subjectOf(alarm)}</bdi> <span>${describeAlarm(alarm, unitOfAlarm(alarm))}</span></h2>
      <p class="alarm-state"><${Flags} alarm=${alarm} /></p>
      <${AlarmActions} alarm=${alarm} />
    </div>
    <div class="episode-columns">
      ${alarm.sensor_id !== null && html`<${AlarmChart} alarm=${alarm} />`}
      <${Facts} alarm=${alarm} />
      <${Timeline} alarm=${alarm} />
    </div>
    <${PartAlarms} listed=${parts} />
  </section>`;
}

/** @param {{alarm: Alarm}} props */
function Facts({ alarm }) {
  const unit = unitOfAlarm(alarm);
  const seconds = (endOf(alarm, now.value) - startOf(alarm)) / 1000;
  const facts = /** @type {[Parameters<typeof translate>[0], string | null | undefined][]} */ ([
    ["column_metric", alarm.metric && metricName(alarm.metric)],
    ["fact_limit", alarm.limit === null ? null : formatAlarmValue(alarm, alarm.limit, unit)],
    ["fact_peak", alarm.peak === undefined || alarm.peak === null ? null : formatAlarmValue(alarm, alarm.peak, unit)],
    ["fact_value", alarm.value === null ? null : formatAlarmValue(alarm, alarm.value, unit)],
    ["fact_duration", duration(seconds)],
  ]);
  return html`<section class="panel">
    <h3>${translate("details")}</h3>
    <dl>${facts.map(([word, text]) => text && html`<div key=${word}><dt>${translate(word)}</dt><dd>${text}</dd></div>`)}</dl>
    ${alarm.limits && alarm.limits.length > 0 && html`<${Limits} alarm=${alarm} limits=${alarm.limits} />`}
  </section>`;
}

/** Shows the limits that were in force when the alarm started. @param {{alarm: Alarm, limits: Limit[]}} props */
function Limits({ alarm, limits }) {
  return html`<h4>${translate("limitsInForce")}</h4>
    <ul class="limits">
      ${limits.map(
        ({ limit, severity, delay }) =>
          html`<li key=${limit}>
            <${SeverityMark} severity=${severity} /> <b>${formatAlarmValue(alarm, limit, unitOfAlarm(alarm))}</b>
            ${delay ? html` <span class="quiet">${translate("after", { delay: duration(delay) })}</span>` : null}
          </li>`,
      )}
    </ul>`;
}

/** Shows the steps of the alarm, with the names and comments of users. @param {{alarm: Alarm}} props */
function Timeline({ alarm }) {
  const local = clock(zone.value, now.peek());
  const severity = translateCode("state", alarm.severity);
  const steps = /** @type {[string | null | undefined, string, string?][]} */ ([
    [alarm.since, translate(alarm.kind === "no_data" ? "step_last" : "step_since")],
    [alarm.raised, translate("step_raised", { severity })],
    [
      alarm.acknowledged_at,
      alarm.acknowledged_by ? translate("step_acknowledged_by", { by: alarm.acknowledged_by }) : translate("step_acknowledged"),
      alarm.comment ?? "",
    ],
    [
      alarm.cleared,
      alarm.closed_by ? translate("step_closed_by", { by: alarm.closed_by }) : translate("step_cleared"),
      alarm.reason ?? "",
    ],
  ]);
  const timed = steps.flatMap(([time, text, note]) => (time ? [{ time, text, note }] : []));
  timed.sort((first, second) => Date.parse(first.time) - Date.parse(second.time));
  return html`<section class="panel">
    <h3>${translate("timeline")} <small>${usableZone(zone.value)}</small></h3>
    <ol class="timeline">
      ${timed.map(
        ({ time, text, note }) =>
          html`<li key=${text}>
            <time datetime=${time}>${local(time)}</time> <span>${text}</span>
            ${note && html`<blockquote><bdi>${note}</bdi></blockquote>`}
          </li>`,
      )}
    </ol>
  </section>`;
}

/** @param {{listed: Alarm[]}} props */
function PartAlarms({ listed }) {
  if (listed.length === 0) return null;
  return html`<section><h3>${translate("partAlarms")}</h3><${List} alarms=${listed} /></section>`;
}
