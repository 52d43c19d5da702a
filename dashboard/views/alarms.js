// The open alarms above every view, and the list of open and past alarms.

import { computed, signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { AlarmActions } from "../components/alarm-actions.js";
import { ErrorText, onText } from "../components/form.js";
import { SeverityMark } from "../components/state-mark.js";
import { endOf, isActive, isOpen } from "../data/alarm-state.js";
import { followAlarmHistory } from "../data/history.js";
import { sensorKey } from "../data/sensors.js";
import { SEVERITIES, compareSeverities, knownSeverity } from "../data/severity.js";
import { minute, now } from "../data/time.js";
import { activeAlarms, alarms, alarmsLoaded, envs, watchedId, zone } from "../data/watched-storehouse.js";
import { route, setOptions, toAlarm, toStorehouse } from "../route.js";
import { alarmStateText, describeAlarm } from "../words/alarms.js";
import { displayName, translate, translateCode } from "../words/translate.js";
import { clock, duration } from "../words/times.js";

/** @import { Alarm } from "../contract.js" */
/** @import { Refused } from "../data/socket.js" */

// Thousands of alarms would make the page slow. The line above the list shows the total number.
const SHOWN = 200;
const FEW = 3; // number of alarms shown above a view; a link leads to the other alarms
const DAY = 86_400_000; // milliseconds
const SPANS = /** @type {const} */ ([1, 7, 30, 365]);
const STATES = /** @type {const} */ (["open", "cleared"]);

/** The unit of each sensor, by the sensor's key. Alarms themselves contain no unit. */
const units = computed(() => new Map((envs.value?.envs ?? []).map((env) => [sensorKey(env), env.unit])));

/** @param {Alarm} alarm */
export function unitOfAlarm(alarm) {
  return units.value.get(sensorKey(alarm));
}

/** The alarms of a span that is longer than the last day; null until the server has answered. */
const history = /** @type {import("@preact/signals").Signal<Alarm[] | null>} */ (signal(null));

/** All alarms, newest first. Pushed alarms replace the same alarms in the older answer. */
const allAlarms = computed(() => {
  const all = new Map((history.value ?? []).map((alarm) => [alarm.alarm_id, alarm]));
  for (const alarm of alarms.value) all.set(alarm.alarm_id, alarm);
  return [...all.values()].sort((first, second) => Date.parse(second.raised) - Date.parse(first.raised));
});

/** Shows the active alarms, the worst first. */
export function OpenAlarms() {
  const open = activeAlarms.value
    .filter((alarm) => !alarm.cause)
    .toSorted((first, second) => compareSeverities(first.severity, second.severity));
  if (open.length === 0) return null;
  return html`<section class="open-alarms" aria-label=${translate("openAlarmsTitle")}>
    <${List} alarms=${open.slice(0, FEW)} />
    ${open.length > FEW &&
    html`<p class="more">
      <a href=${toStorehouse(route.value.storehouse, "alarms")}>${translate("allOpenAlarms", { count: open.length })}</a>
    </p>`}
  </section>`;
}

export function Alarms() {
  const options = route.value.options;
  const days = SPANS.find((count) => String(count) === options.get("days")) ?? 1;
  const [refused, setRefused] = useState(/** @type {Refused | null} */ (null));
  useEffect(() => {
    history.value = null;
    setRefused(null);
    const id = watchedId.peek();
    if (days === 1 || id === null) return undefined;
    return followAlarmHistory(id, now.peek() - days * DAY, (answer) => {
      history.value = answer.alarms;
      setRefused(answer.refused);
    });
  }, [days, watchedId.value]);
  const listed = filteredAlarms(options, days);
  const loading = !refused && (days === 1 ? !alarmsLoaded.value : history.value === null);
  return html`<section class="alarms-page">
    <${Filters} options=${options} days=${days} />
    <p id="alarms-summary" role="status">${summary(listed, loading)}</p>
    <${ErrorText} refused=${refused} />
    <${List} alarms=${listed.slice(0, SHOWN)} />
  </section>`;
}

/**
 * @param {URLSearchParams} options
 * @param {number} days
 */
function filteredAlarms(options, days) {
  const [state, severity, sensor] = ["state", "severity", "sensor"].map((name) => options.get(name));
  const since = minute.value - days * DAY;
  return allAlarms.value.filter(
    (alarm) =>
      endOf(alarm, Infinity) >= since &&
      (!state || (state === "open") === isOpen(alarm)) &&
      (!severity || knownSeverity(alarm.severity) === severity) &&
      (!sensor || sensorKey(alarm) === sensor),
  );
}

/**
 * @param {Alarm[]} listed
 * @param {boolean} loading
 */
function summary(listed, loading) {
  if (loading) return translate("loading");
  if (listed.length === 0) return translate("noAlarms");
  const active = listed.filter(isActive).length;
  const parts = [translate("openAlarms", { count: active }), translate("alarmCount", { count: listed.length })];
  if (listed.length > SHOWN) parts.push(translate("newestAlarms", { shown: SHOWN }));
  return parts.join(" · ");
}

/** @param {{options: URLSearchParams, days: number}} props */
function Filters({ options, days }) {
  const sensors = (envs.value?.envs ?? []).map((env) => /** @type {const} */ ([sensorKey(env), displayName(env.sensor_name)]));
  const spans = SPANS.map((count) => [String(count), translate(`days_${count}`)]);
  const states = STATES.map((state) => [state, translate(`only_${state}`)]);
  const severities = SEVERITIES.map((severity) => [severity, translateCode("state", severity)]);
  return html`<div class="filters">
    <${Choice} name="days" value=${String(days)} choices=${spans} />
    <${Choice} name="state" value=${options.get("state")} any choices=${states} />
    <${Choice} name="severity" value=${options.get("severity")} any choices=${severities} />
    <${Choice} name="sensor" value=${options.get("sensor")} any choices=${sensors} />
  </div>`;
}

/**
 * @param {{name: "days" | "state" | "severity" | "sensor", value: string | null, any?: boolean,
 *   choices: [value: string, text: string][]}} props
 */
function Choice({ name, value, any, choices }) {
  return html`<label>
    <span>${translate(`filter_${name}`)}</span>
    <select value=${value ?? ""} onChange=${onText((text) => setOptions({ [name]: text || null }))}>
      ${any && html`<option value="">${translate("all")}</option>`}
      ${choices.map(([choice, text]) => html`<option key=${choice} value=${choice}>${text}</option>`)}
    </select>
  </label>`;
}

/**
 * Return the name of the sensor that an alarm is about.
 * @param {Alarm} alarm
 */
export function subjectOf({ sensor_name }) {
  return sensor_name === null ? translate("wholeStorehouse") : displayName(sensor_name);
}

/** @param {{alarms: Alarm[]}} props */
export function List({ alarms: listed }) {
  return html`<ol class="alarms">
    ${listed.map((alarm) => html`<${Row} key=${alarm.alarm_id} alarm=${alarm} />`)}
  </ol>`;
}

/** @param {{alarm: Alarm}} props */
function Row({ alarm }) {
  const address = toAlarm(alarm);
  return html`<li class="alarm" data-state=${alarm.state} data-severity=${knownSeverity(alarm.severity)}>
    <${SeverityMark} severity=${alarm.severity} />
    <a class="name" href=${address}><bdi>${subjectOf(alarm)}</bdi></a>
    <span class="what">${describeAlarm(alarm, unitOfAlarm(alarm))}</span>
    <span class="alarm-state"><${Flags} alarm=${alarm} /></span>
    <${Span} alarm=${alarm} />
    <${AlarmActions} alarm=${alarm} />
  </li>`;
}

/** Shows the state and the flags of an alarm. @param {{alarm: Alarm}} props */
export function Flags({ alarm }) {
  const flags = /** @type {const} */ (["late", "silenced", "drill"]).filter((flag) => alarm[flag]);
  return [alarmStateText(alarm), ...flags.map((flag) => translate(`flag_${flag}`))].join(" · ");
}

/** Shows the start, the end and the duration of an alarm. @param {{alarm: Alarm}} props */
function Span({ alarm }) {
  const raised = clock(zone.value, minute.value)(alarm.raised);
  const lasted = duration((endOf(alarm, minute.value) - Date.parse(alarm.raised)) / 1000);
  if (alarm.cleared === null) return html`<span class="when">${translate("since", { raised })} · ${lasted}</span>`;
  const cleared = clock(zone.value, Date.parse(alarm.raised))(alarm.cleared); // without the day if it is the same
  return html`<span class="when">${translate("fromTo", { raised, cleared })} · ${lasted}</span>`;
}
