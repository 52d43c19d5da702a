// Alarms: those that are open above every view, and the list of open and past ones.

import { computed, signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { AlarmActions } from "../parts/alarm-actions.js";
import { StateMark } from "../parts/state.js";
import { followPast } from "../data/past-alarms.js";
import { sensorKey } from "../data/sensors.js";
import { minute, now } from "../data/time.js";
import { activeAlarms, alarms, alarmsKnown, envs, watchedId, zone } from "../data/watch.js";
import { route, setOptions, toAlarm, toStorehouse } from "../route.js";
import { stateInWords, whatIsWrong } from "../words/alarms.js";
import { named, say } from "../words/say.js";
import { clock, duration } from "../words/times.js";

/** @import { Alarm } from "../contract.js" */
/** @import { Refused } from "../data/socket.js" */

// More than a person reads; thousands would only make the page slow. The line above the list says how many there are.
const SHOWN = 200;
const FEW = 3; // alarms above a view; the others are a link away
const DAY = 86_400_000; // milliseconds
const SPANS = /** @type {const} */ ([1, 7, 30, 365]);
const SEVERITIES = /** @type {const} */ (["critical", "warning", "info"]);
const STATES = /** @type {const} */ (["open", "cleared"]);

/** The units of the sensors, for alarms do not tell them. */
const units = computed(() => new Map((envs.value?.envs ?? []).map((env) => [sensorKey(env), env.unit])));

/** @param {Alarm} alarm */
export function unitOfAlarm(alarm) {
  return units.value.get(sensorKey(alarm));
}

/** The alarms of a longer past than is watched, null while they are not known. */
const past = /** @type {import("@preact/signals").Signal<Alarm[] | null>} */ (signal(null));

/** All that are known, newest first: what is watched is newer than what was asked for. */
const known = computed(() => {
  const all = new Map((past.value ?? []).map((alarm) => [alarm.alarm_id, alarm]));
  for (const alarm of alarms.value) all.set(alarm.alarm_id, alarm);
  return [...all.values()].sort((one, other) => Date.parse(other.raised) - Date.parse(one.raised));
});

/** Those that are open, the worst first. */
export function OpenAlarms() {
  const open = activeAlarms.value
    .filter((alarm) => !alarm.cause)
    .toSorted((one, other) => SEVERITIES.indexOf(one.severity) - SEVERITIES.indexOf(other.severity));
  if (open.length === 0) return null;
  return html`<section class="open-alarms" aria-label=${say("openAlarmsTitle")}>
    <${List} alarms=${open.slice(0, FEW)} />
    ${open.length > FEW &&
    html`<p class="more"><a href=${toStorehouse(route.value.storehouse, "alarms")}>${say("allOpenAlarms", { count: open.length })}</a></p>`}
  </section>`;
}

export function Alarms() {
  const options = route.value.options;
  const days = SPANS.find((one) => String(one) === options.get("days")) ?? 1;
  const [refused, setRefused] = useState(/** @type {Refused | null} */ (null));
  useEffect(() => {
    past.value = null;
    setRefused(null);
    const id = watchedId.peek();
    if (days === 1 || id === null) return undefined;
    return followPast(id, now.peek() - days * DAY, (answer) => {
      past.value = answer.alarms;
      setRefused(answer.refused);
    });
  }, [days, watchedId.value]);
  const found = filtered(options, days);
  const loading = !refused && (days === 1 ? !alarmsKnown.value : past.value === null);
  return html`<section class="alarms-page">
    <${Filters} options=${options} days=${days} />
    <p id="alarms-summary" role="status">${summary(found, loading)}</p>
    ${refused && html`<p class="error">${say("refused", { message: refused.message })}</p>`}
    <${List} alarms=${found.slice(0, SHOWN)} />
  </section>`;
}

/**
 * @param {URLSearchParams} options
 * @param {number} days
 */
function filtered(options, days) {
  const [state, severity, sensor] = ["state", "severity", "sensor"].map((name) => options.get(name));
  const since = minute.value - days * DAY;
  return known.value.filter(
    (alarm) =>
      (alarm.cleared === null || Date.parse(alarm.cleared) >= since) &&
      (!state || (state === "open") === (alarm.cleared === null)) &&
      (!severity || alarm.severity === severity) &&
      (!sensor || sensorKey(alarm) === sensor),
  );
}

/**
 * @param {Alarm[]} found
 * @param {boolean} loading
 */
function summary(found, loading) {
  if (loading) return say("loading");
  if (found.length === 0) return say("noAlarms");
  const open = found.filter((alarm) => alarm.state === "active").length;
  const parts = [say("openAlarms", { count: open }), say("alarmCount", { count: found.length })];
  if (found.length > SHOWN) parts.push(say("newestAlarms", { shown: SHOWN }));
  return parts.join(" · ");
}

/** @param {{options: URLSearchParams, days: number}} props */
function Filters({ options, days }) {
  const sensors = (envs.value?.envs ?? []).map((env) => /** @type {const} */ ([sensorKey(env), env.sensor_name]));
  return html`<div class="filters">
    <${Choice} name="days" value=${String(days)} choices=${SPANS.map((one) => [String(one), say(`days_${one}`)])} />
    <${Choice} name="state" value=${options.get("state")} any choices=${STATES.map((one) => [one, say(`only_${one}`)])} />
    <${Choice} name="severity" value=${options.get("severity")} any choices=${SEVERITIES.map((one) => [one, named("state", one)])} />
    <${Choice} name="sensor" value=${options.get("sensor")} any choices=${sensors} />
  </div>`;
}

/**
 * @param {{name: "days" | "state" | "severity" | "sensor", value: string | null, any?: boolean,
 *   choices: [value: string, text: string][]}} props
 */
function Choice({ name, value, any, choices }) {
  return html`<label>
    <span>${say(`filter_${name}`)}</span>
    <select
      value=${value ?? ""}
      onChange=${(/** @type {any} */ event) => setOptions({ [name]: event.currentTarget.value || null })}
    >
      ${any && html`<option value="">${say("any")}</option>`}
      ${choices.map(([one, text]) => html`<option key=${one} value=${one}>${text}</option>`)}
    </select>
  </label>`;
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
  return html`<li class="alarm" data-state=${alarm.state} data-severity=${alarm.severity}>
    <${StateMark} state=${alarm.severity} />
    <a class="name" href=${address}><bdi>${alarm.sensor_name ?? say("wholeStorehouse")}</bdi></a>
    <span class="what">${whatIsWrong(alarm, unitOfAlarm(alarm))}</span>
    <span class="alarm-state"><${Flags} alarm=${alarm} /></span>
    <${Span} alarm=${alarm} />
    <${AlarmActions} alarm=${alarm} />
  </li>`;
}

/** Its state, and what else is to be known of it. @param {{alarm: Alarm}} props */
export function Flags({ alarm }) {
  const flags = /** @type {const} */ (["late", "silenced", "drill"]).filter((flag) => alarm[flag]);
  return [stateInWords(alarm), ...flags.map((flag) => say(`flag_${flag}`))].join(" · ");
}

/** From when to when, and how long. @param {{alarm: Alarm}} props */
function Span({ alarm }) {
  const raised = clock(zone.value, minute.value)(alarm.raised);
  const end = alarm.cleared === null ? minute.value : Date.parse(alarm.cleared);
  const lasted = duration((end - Date.parse(alarm.raised)) / 1000);
  if (alarm.cleared === null) return html`<span class="when">${say("since", { raised })} · ${lasted}</span>`;
  const cleared = clock(zone.value, Date.parse(alarm.raised))(alarm.cleared); // the same day is not named twice
  return html`<span class="when">${say("fromTo", { raised, cleared })} · ${lasted}</span>`;
}
