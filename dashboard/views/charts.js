// Curves of the past: which sensors, which span, what one sees under the cursor.

import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { COLOURS, Chart } from "../parts/chart.js";
import { exportCsv, exportPicture } from "../parts/export.js";
import { history } from "../data/history.js";
import { alarmsSince } from "../data/past-alarms.js";
import { sensorKey, sensorsSince } from "../data/sensors.js";
import { Refused, connection } from "../data/socket.js";
import { now } from "../data/time.js";
import { alarms as watchedAlarms, envs, watchedId, watchedPlace, zone } from "../data/watch.js";
import { route, setOptions, toAlarm } from "../route.js";
import { say } from "../words/say.js";
import { clock, dateTime, duration, knownZone } from "../words/times.js";
import { inWords, metricName, unitOf } from "../words/values.js";
import { clockName } from "../parts/ticks.js";

/** @import { Alarm, Env, History, Sensor } from "../contract.js" */
/** @typedef {History["sensors"][number]} Curve */
/** @typedef {{history: History, alarms: Alarm[], known: Sensor[], span: [number, number]}} Found */

const HOUR = 3_600_000; // milliseconds
const DAY = 24 * HOUR;
const SPANS = /** @type {const} */ ({ hour: HOUR, six: 6 * HOUR, day: DAY, week: 7 * DAY, month: 30 * DAY, year: 365 * DAY });
const LEAST = 60_000; // milliseconds; closer there is nothing more to see
const MOST = 366 * DAY;
const POINTS = 1_200; // of each sensor: as many as a wide screen has columns to tell apart
const OFTEN = 10_000; // milliseconds
const SELDOM = 300_000; // milliseconds
const HEIGHTS = [0, 440, 260]; // pixels, by how many charts there are
const MANY = 12; // curves, more than which nobody can follow

/** Where the cursor is, in seconds. */
const cursor = signal(/** @type {number | null} */ (null));

export function Charts() {
  const all = envs.value?.envs ?? [];
  const options = route.value.options;
  const chosen = chosenOf(all, options);
  const fixed = fixedSpan(options);
  const { found, refused, loading } = useHistory(chosen, fixed, spanOf(options));
  const panels = useMemo(() => byUnit(found, chosen), [found, chosen.map(sensorKey).join()]);
  const places = /** @type {{current: HTMLElement | null}} */ (useRef(null));
  if (all.length === 0) return html`<p class="notice">${say("noReadings")}</p>`;
  const span = fixed ?? [now.peek() - spanOf(options), now.peek()];
  const colourOf = (/** @type {Curve} */ curve) => chosen.findIndex((env) => sensorKey(env) === sensorKey(curve));
  return html`<section class="charts">
    <${Controls} span=${span} live=${fixed === null} name=${options.get("span") ?? "day"} />
    <div class="chart-columns">
      <${Chooser} all=${all} chosen=${chosen} />
      <div class="panels" ref=${places} tabindex="0" role="group" aria-label=${say("chartKeys")} onKeyDown=${keys(span)}>
        ${refused && html`<p class="error" role="alert">${say("refused", { message: refused.message })}</p>`}
        ${chosen.length === 0 && html`<p class="notice">${say("chooseSensors")}</p>`}
        ${!found && !refused && chosen.length > 0 && html`<p class="notice">${say("loading")}</p>`}
        ${found &&
        panels.map(
          ({ key, curves }) => html`<section class="panel chart" key=${key}>
            <${Legend} curves=${curves} bucket=${found.history.bucket_s} colourOf=${colourOf} />
            <${Chart}
              sensors=${curves}
              bucket=${found.history.bucket_s}
              span=${found.span}
              alarms=${found.alarms}
              known=${found.known}
              colourOf=${colourOf}
              height=${HEIGHTS[panels.length] ?? 180}
              zoom=${show}
              open=${(/** @type {Alarm} */ alarm) => (window.location.hash = toAlarm(alarm))}
              point=${(/** @type {number | null} */ time) => (cursor.value = time)}
            />
          </section>`,
        )}
        ${found && html`<${Foot} found=${found} panels=${panels} places=${places} loading=${loading} />`}
      </div>
    </div>
  </section>`;
}

/**
 * Ask for what is to be seen, and again while its end is now.
 * @param {Env[]} chosen
 * @param {[number, number] | null} fixed
 * @param {number} length
 */
function useHistory(chosen, fixed, length) {
  const [found, setFound] = useState(/** @type {Found | null} */ (null));
  const [refused, setRefused] = useState(/** @type {Refused | null} */ (null));
  const [loading, setLoading] = useState(false);
  const keys = chosen.map(sensorKey).join();
  useEffect(() => {
    let wanted = true;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    async function load() {
      setLoading(true);
      const span = fixed ?? [now.peek() - length, now.peek()];
      try {
        const answer = await fetchSpan(chosen, span, () => wanted);
        if (!wanted) return;
        if (answer) setFound(answer);
        setRefused(null);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (wanted) setRefused(error);
      }
      setLoading(false);
      if (!fixed) timer = setTimeout(load, Math.max(OFTEN, Math.min(SELDOM, length / POINTS)));
    }
    if (connection.value === "connected" && chosen.length > 0) load();
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [keys, fixed?.[0], fixed?.[1], length, connection.value, watchedId.value]);
  return { found, refused, loading };
}

/**
 * @param {Env[]} chosen
 * @param {[number, number]} span
 * @param {() => boolean} wanted
 * @returns {Promise<Found | null>}
 */
async function fetchSpan(chosen, span, wanted) {
  const id = watchedId.peek();
  if (id === null) return null;
  const ids = new Set(chosen.map((env) => env.sensor_id));
  const sensor_id = ids.size === 1 ? chosen[0]?.sensor_id : undefined;
  const [curves, alarms, known] = await Promise.all([
    history(id, ...span, POINTS, { wanted, sensor_id }),
    // More alarms than the server tells at once: the curve shows without them.
    alarmsSince(id, span[0], wanted).catch(() => []),
    sensorsSince(id, span[0], wanted),
  ]);
  return curves && { history: curves, alarms: alarms ?? [], known: known ?? [], span };
}

/**
 * The curves that were chosen, those of one unit together.
 * @param {Found | null} found
 * @param {Env[]} chosen
 */
function byUnit(found, chosen) {
  const curves = new Map(found?.history.sensors.map((curve) => [sensorKey(curve), curve]));
  /** @type {Map<string, Curve[]>} */
  const panels = new Map();
  for (const env of chosen) {
    const curve = curves.get(sensorKey(env));
    if (!curve) continue;
    const key = `${curve.metric} ${curve.unit}`;
    panels.set(key, [...(panels.get(key) ?? []), curve]);
  }
  return [...panels].map(([key, its]) => ({ key, curves: its }));
}

/**
 * @param {Env[]} all
 * @param {URLSearchParams} options
 */
function chosenOf(all, options) {
  const wanted = options.getAll("sensor").flatMap((text) => text.split(";"));
  if (options.has("sensor")) return all.filter((env) => wanted.includes(sensorKey(env)));
  const first = all.find((env) => env.metric === "temperature") ?? all[0];
  return first ? [first] : [];
}

/** @param {URLSearchParams} options */
function spanOf(options) {
  return SPANS[/** @type {keyof typeof SPANS} */ (options.get("span"))] ?? SPANS.day;
}

/**
 * @param {URLSearchParams} options
 * @returns {[number, number] | null} null: it ends now, and moves on
 */
function fixedSpan(options) {
  const [from, to] = ["from", "to"].map((name) => Date.parse(options.get(name) ?? ""));
  return from && to && from < to ? [from, to] : null;
}

/** @param {[number, number]} span */
function show([from, to]) {
  const length = Math.max(LEAST, Math.min(MOST, to - from));
  const end = Math.min((from + to) / 2 + length / 2, now.peek());
  const iso = (/** @type {number} */ time) => new Date(Math.round(time)).toISOString();
  setOptions({ from: iso(end - length), to: iso(end) });
}

/** @param {[number, number]} span */
function moves([from, to]) {
  const length = to - from;
  return {
    earlier: () => show([from - length / 2, to - length / 2]),
    later: () => show([from + length / 2, to + length / 2]),
    closer: () => show([from + length / 4, to - length / 4]),
    wider: () => show([from - length / 2, to + length / 2]),
    live: () => setOptions({ from: null, to: null }),
  };
}

const KEYS = /** @type {const} */ ({
  ArrowLeft: "earlier",
  ArrowRight: "later",
  "+": "closer",
  "=": "closer",
  "-": "wider",
  Home: "live",
});

/** @param {[number, number]} span */
function keys(span) {
  return (/** @type {KeyboardEvent} */ event) => {
    const move = KEYS[/** @type {keyof typeof KEYS} */ (event.key)];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    moves(span)[move]();
  };
}

/** @param {{span: [number, number], live: boolean, name: string}} props */
function Controls({ span, live, name }) {
  const move = moves(span);
  return html`<div class="controls">
    <div class="segments" role="group" aria-label=${say("span")}>
      ${Object.keys(SPANS).map(
        (one) =>
          html`<button
            type="button"
            key=${one}
            aria-pressed=${live && one === name}
            onClick=${() => setOptions({ span: one, from: null, to: null })}
          >
            ${say(/** @type {"span_day"} */ (`span_${one}`))}
          </button>`,
      )}
    </div>
    <div class="segments" role="group" aria-label=${say("move")}>
      <${Move} label=${say("earlier")} act=${move.earlier} path="M10 3 5 8l5 5" />
      <${Move} label=${say("later")} act=${move.later} path="m6 3 5 5-5 5" off=${live} />
      <${Move} label=${say("closer")} act=${move.closer} path="M8 3v10M3 8h10" />
      <${Move} label=${say("wider")} act=${move.wider} path="M3 8h10" />
    </div>
    <button type="button" aria-pressed=${live} onClick=${move.live}>${say("live")}</button>
    <p class="span-shown">${spanInWords(span)}</p>
  </div>`;
}

/** @param {{label: string, act: () => void, path: string, off?: boolean}} props */
function Move({ label, act, path, off = false }) {
  return html`<button type="button" aria-label=${label} title=${label} disabled=${off} onClick=${act}>
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d=${path} fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" />
    </svg>
  </button>`;
}

/** @param {[number, number]} span */
function spanInWords(span) {
  const [from, to] = span.map((time) => dateTime(zone.value, time));
  return `${from} – ${to} (${knownZone(zone.value)})`;
}

/** @param {{all: Env[], chosen: Env[]}} props */
function Chooser({ all, chosen }) {
  const keysChosen = chosen.map(sensorKey);
  /** @param {string} key */
  function toggle(key) {
    const next = keysChosen.includes(key) ? keysChosen.filter((one) => one !== key) : [...keysChosen, key];
    setOptions({ sensor: next.slice(-MANY).join(";") });
  }
  return html`<fieldset class="chooser">
    <legend>${say("column_sensor")}</legend>
    ${all.map((env) => {
      const key = sensorKey(env);
      const index = keysChosen.indexOf(key);
      return html`<label key=${key}>
        <input type="checkbox" checked=${index >= 0} onChange=${() => toggle(key)} />
        <${Line} index=${index} />
        <span><bdi>${env.sensor_name}</bdi> <small>${metricName(env.metric)}</small></span>
      </label>`;
    })}
  </fieldset>`;
}

/** How a sensor's curve is drawn. @param {{index: number}} props */
function Line({ index }) {
  if (index < 0) return html`<svg class="curve-mark"></svg>`;
  const dashes = ["", "4 2", "1.5 2.5"][Math.floor(index / COLOURS) % 3];
  return html`<svg class="curve-mark" data-curve=${index % COLOURS} viewBox="0 0 18 8" aria-hidden="true">
    <path d="M0 4h18" stroke-dasharray=${dashes} />
  </svg>`;
}

/** @param {{curves: Curve[], bucket: number, colourOf: (curve: Curve) => number}} props */
function Legend({ curves, bucket, colourOf }) {
  const time = cursor.value;
  const first = curves[0];
  return html`<div class="legend">
    <h3>${first && metricName(first.metric)} <small>${first && unitOf(first.metric, first.unit)}</small></h3>
    <ul>
      ${curves.map(
        (curve) => html`<li key=${sensorKey(curve)}>
          <${Line} index=${colourOf(curve)} /> <bdi>${curve.sensor_name}</bdi> <b>${at(curve, time, bucket)}</b>
        </li>`,
      )}
    </ul>
    <p class="cursor-time">${time === null ? "" : localTime(time)}</p>
  </div>`;
}

/** @param {number} time seconds */
function localTime(time) {
  return `${clock(zone.value, now.peek())(new Date(time * 1000).toISOString())} ${clockName(zone.value, time * 1000)}`;
}

/**
 * What was measured there: a single value, or the lowest to the highest.
 * @param {Curve} curve
 * @param {number | null} time seconds
 * @param {number} bucket seconds
 */
function at(curve, time, bucket) {
  if (time === null) return "";
  const point = curve.points.find(([start]) => Math.abs(Date.parse(start) / 1000 - time) < bucket / 2);
  if (!point) return "—";
  const [, min, max, mean] = point;
  const text = inWords(curve.metric, mean, curve.unit);
  if (min === max) return text;
  return `${text} (${inWords(curve.metric, min, "")} … ${inWords(curve.metric, max, "")})`;
}

/** @param {{found: Found, panels: {curves: Curve[]}[], places: {current: HTMLElement | null}, loading: boolean}} props */
function Foot({ found, panels, places, loading }) {
  const name = watchedPlace.value?.storehouse.store_house_name ?? "";
  const curves = panels.flatMap((panel) => panel.curves);
  const known = new Map([...found.alarms, ...watchedAlarms.value].map((alarm) => [alarm.alarm_id, alarm]));
  const shown = [...known.values()].filter((alarm) => curves.some((curve) => sensorKey(curve) === sensorKey(alarm)));
  return html`<div class="chart-foot">
    <p class="quiet" role="status">
      ${say("bucketIs", { count: shown.length, span: duration(found.history.bucket_s) })}${loading ? " …" : ""}
    </p>
    <button type="button" onClick=${() => exportCsv(name, curves, zone.peek())}>${say("exportCsv")}</button>
    <button type="button" onClick=${() => places.current && exportPicture(name, spanInWords(found.span), places.current)}>
      ${say("exportPicture")}
    </button>
  </div>`;
}
