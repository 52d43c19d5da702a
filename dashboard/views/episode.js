// One alarm, from its first reading out of limits to its end: curve, limits, what was done about it.

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { AlarmActions } from "../parts/alarm-actions.js";
import { LateChart } from "../parts/late-chart.js";
import { StateMark } from "../parts/state.js";
import { followPast } from "../data/past-alarms.js";
import { now } from "../data/time.js";
import { alarms, watchedId, zone } from "../data/watch.js";
import { route, toStorehouse } from "../route.js";
import { figure, whatIsWrong } from "../words/alarms.js";
import { named, say } from "../words/say.js";
import { clock, duration, knownZone } from "../words/times.js";
import { metricName } from "../words/values.js";
import { Flags, List, unitOfAlarm } from "./alarms.js";

/** @import { Alarm, Limit } from "../contract.js" */

const DAY = 86_400_000; // milliseconds

/** @param {{id: string}} props */
export function Episode({ id }) {
  const [past, setPast] = useState(/** @type {Alarm[] | null} */ (null));
  const raised = Date.parse(route.value.options.get("raised") ?? "");
  useEffect(() => {
    const storehouse = watchedId.peek();
    if (storehouse === null) return undefined;
    const since = Number.isNaN(raised) ? now.peek() - DAY : raised;
    return followPast(storehouse, since, (answer) => setPast(answer.alarms ?? []));
  }, [id, raised]);
  const is = (/** @type {Alarm} */ one) => String(one.alarm_id) === id;
  const alarm = alarms.value.find(is) ?? past?.find(is);
  const back = toStorehouse(route.value.storehouse, "alarms");
  if (!alarm) return html`<p class="notice">${past ? say("unknownAlarm") : say("loading")} <a href=${back}>${say("toAlarms")}</a></p>`;
  const under = [...new Map([...(past ?? []), ...alarms.value].map((one) => [one.alarm_id, one])).values()];
  return html`<section class="episode">
    <p class="crumbs"><a href=${back}>${say("toAlarms")}</a></p>
    <div class="episode-title">
      <${StateMark} state=${alarm.severity} />
      <h2><bdi>${alarm.sensor_name ?? say("wholeStorehouse")}</bdi> <span>${whatIsWrong(alarm, unitOfAlarm(alarm))}</span></h2>
      <p class="alarm-state"><${Flags} alarm=${alarm} /></p>
      <${AlarmActions} alarm=${alarm} />
    </div>
    <div class="episode-columns">
      ${alarm.sensor_id !== null && html`<${LateChart} alarm=${alarm} />`}
      <${Facts} alarm=${alarm} />
      <${Course} alarm=${alarm} />
    </div>
    <${Causes} listed=${under.filter((one) => one.cause === alarm.alarm_id)} />
  </section>`;
}

/** @param {{alarm: Alarm}} props */
function Facts({ alarm }) {
  const unit = unitOfAlarm(alarm);
  const begin = Date.parse(alarm.since ?? alarm.raised);
  const end = alarm.cleared === null ? now.value : Date.parse(alarm.cleared);
  const facts = /** @type {[Parameters<typeof say>[0], string | null | undefined][]} */ ([
    ["fact_metric", alarm.metric && metricName(alarm.metric)],
    ["fact_limit", alarm.limit === null ? null : figure(alarm, alarm.limit, unit)],
    ["fact_peak", alarm.peak === undefined || alarm.peak === null ? null : figure(alarm, alarm.peak, unit)],
    ["fact_value", alarm.value === null ? null : figure(alarm, alarm.value, unit)],
    ["fact_duration", duration((end - begin) / 1000)],
  ]);
  return html`<section class="panel">
    <h3>${say("facts")}</h3>
    <dl>${facts.map(([word, text]) => text && html`<div key=${word}><dt>${say(word)}</dt><dd>${text}</dd></div>`)}</dl>
    ${alarm.limits && alarm.limits.length > 0 && html`<${Limits} alarm=${alarm} limits=${alarm.limits} />`}
  </section>`;
}

/** The limits that were in force when it began. @param {{alarm: Alarm, limits: Limit[]}} props */
function Limits({ alarm, limits }) {
  return html`<h4>${say("limitsInForce")}</h4>
    <ul class="limits">
      ${limits.map(
        (one) =>
          html`<li key=${one.limit}>
            <${StateMark} state=${one.severity} /> <b>${figure(alarm, one.limit, unitOfAlarm(alarm))}</b>
            ${one.delay ? html` <span class="quiet">${say("after", { delay: duration(one.delay) })}</span>` : null}
          </li>`,
      )}
    </ul>`;
}

/** Who did what when. @param {{alarm: Alarm}} props */
function Course({ alarm }) {
  const local = clock(zone.value, now.peek());
  const severity = named("state", alarm.severity);
  const steps = /** @type {[string | null | undefined, string, string?][]} */ ([
    [alarm.since, say(alarm.kind === "no_data" ? "step_last" : "step_since")],
    [alarm.raised, say("step_raised", { severity })],
    [
      alarm.acknowledged_at,
      alarm.acknowledged_by ? say("step_acknowledged_by", { by: alarm.acknowledged_by }) : say("step_acknowledged"),
      alarm.comment ?? "",
    ],
    [
      alarm.cleared,
      alarm.closed_by ? say("step_closed_by", { by: alarm.closed_by }) : say("step_cleared"),
      alarm.reason ?? "",
    ],
  ]);
  const known = steps.flatMap(([time, text, note]) => (time ? [{ time, text, note }] : []));
  known.sort((one, other) => Date.parse(one.time) - Date.parse(other.time));
  return html`<section class="panel">
    <h3>${say("course")} <small>${knownZone(zone.value)}</small></h3>
    <ol class="course">
      ${known.map(
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
function Causes({ listed }) {
  if (listed.length === 0) return null;
  return html`<section><h3>${say("listedUnder")}</h3><${List} alarms=${listed} /></section>`;
}
