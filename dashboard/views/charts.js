// The charts tab: the choice of sensors and time range, the charts, and the values at the cursor.

import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { COLOURS, Chart } from "../components/chart.js";
import { exportCsv, exportPicture } from "../components/chart-export.js";
import { ErrorText } from "../components/form.js";
import { alarmsSince, readingHistory } from "../data/history.js";
import { sensorKey, sensorsSince } from "../data/sensors.js";
import { Refused, connection, onPush } from "../data/socket.js";
import { now } from "../data/time.js";
import { alarms as watchedAlarms, envs, watchedId, watchedStorehouse, zone } from "../data/watched-storehouse.js";
import { route, setOptions, toAlarm } from "../route.js";
import { displayName, translate } from "../words/translate.js";
import { clock, dateTime, duration, usableZone } from "../words/times.js";
import { formatValue, metricName, unitOf } from "../words/values.js";
import { clockName } from "../components/time-ticks.js";

/** @import { Alarm, Curve, Env } from "../contract.js" */
/** @import { ChartData } from "../types.js" */
/** @typedef {ChartData & {alarms: Alarm[]}} Loaded */

const HOUR = 3_600_000; // milliseconds
const DAY = 24 * HOUR;
const SPANS = /** @type {const} */ ({ hour: HOUR, six: 6 * HOUR, day: DAY, week: 7 * DAY, month: 30 * DAY, year: 365 * DAY });
const MIN_SPAN = 60_000; // milliseconds; a shorter span would show no more detail
const MAX_SPAN = 366 * DAY;
const POINTS = 1_200; // maximum for each sensor; about one for each pixel of a wide screen
const MIN_REFRESH = 10_000; // milliseconds
const MAX_REFRESH = 300_000; // milliseconds
const HEIGHTS = [0, 440, 260]; // height of a chart in pixels, by the number of charts
const MAX_CURVES = 12; // users cannot distinguish more curves

/** The time at the cursor, in seconds. */
const cursor = signal(/** @type {number | null} */ (null));

/** The position of the question in the server's queue, or null if it does not wait. */
const waiting = signal(/** @type {import("../contract.js").AskWaiting | null} */ (null));
onPush("ask_waiting", (payload) => (waiting.value = payload));

export function Charts() {
  const all = envs.value?.envs ?? [];
  const options = route.value.options;
  const chosen = chosenOf(all, options);
  const fixed = fixedSpan(options);
  const { loaded, refused, loading } = useHistory(chosen, fixed, spanOf(options));
  const panels = useMemo(() => byUnit(loaded, chosen), [loaded, chosen.map(sensorKey).join()]);
  const container = /** @type {{current: HTMLElement | null}} */ (useRef(null));
  if (all.length === 0) return html`<p class="notice">${translate("noReadings")}</p>`;
  const span = fixed ?? [now.peek() - spanOf(options), now.peek()];
  const colourOf = (/** @type {Curve} */ curve) => chosen.findIndex((env) => sensorKey(env) === sensorKey(curve));
  return html`<section class="charts">
    <${Controls} span=${span} live=${fixed === null} name=${options.get("span") ?? "day"} />
    <div class="chart-columns">
      <${Chooser} all=${all} chosen=${chosen} />
      <div class="panels" ref=${container} tabindex="0" role="group" aria-label=${translate("chartKeys")} onKeyDown=${keys(span)}>
        <${ErrorText} refused=${refused} />
        ${chosen.length === 0 && html`<p class="notice">${translate("chooseSensors")}</p>`}
        ${!loaded && !refused && chosen.length > 0 && html`<p class="notice">${translate(waiting.value ? "waiting" : "loading", { ...waiting.value })}</p>`}
        ${loaded &&
        panels.map(
          ({ key, curves }) => html`<section class="panel chart" key=${key}>
            <${Legend} curves=${curves} bucket=${loaded.history.bucket_s} colourOf=${colourOf} />
            <${Chart}
              curves=${curves}
              bucket=${loaded.history.bucket_s}
              span=${loaded.span}
              alarms=${loaded.alarms}
              sensors=${loaded.sensors}
              colourOf=${colourOf}
              height=${HEIGHTS[panels.length] ?? 180}
              onZoom=${showSpan}
              onAlarm=${(/** @type {Alarm} */ alarm) => (window.location.hash = toAlarm(alarm))}
              onCursor=${(/** @type {number | null} */ time) => (cursor.value = time)}
            />
          </section>`,
        )}
        ${loaded && html`<${Foot} loaded=${loaded} panels=${panels} container=${container} loading=${loading} />`}
      </div>
    </div>
  </section>`;
}

/**
 * Load the data of the span. While the span ends now, load it again every few seconds.
 * @param {Env[]} chosen
 * @param {[number, number] | null} fixed
 * @param {number} length
 */
function useHistory(chosen, fixed, length) {
  const [loaded, setLoaded] = useState(/** @type {Loaded | null} */ (null));
  const [refused, setRefused] = useState(/** @type {Refused | null} */ (null));
  const [loading, setLoading] = useState(false);
  const keys = chosen.map(sensorKey).join();
  useEffect(() => {
    let wanted = true;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    async function load() {
      setLoading(true);
      waiting.value = null;
      const span = fixed ?? [now.peek() - length, now.peek()];
      try {
        const answer = await fetchSpan(chosen, span, () => wanted);
        if (!wanted) return;
        if (answer) setLoaded(answer);
        setRefused(null);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (wanted) setRefused(error);
      }
      setLoading(false);
      if (!fixed) timer = setTimeout(load, Math.max(MIN_REFRESH, Math.min(MAX_REFRESH, length / POINTS)));
    }
    if (connection.value === "connected" && chosen.length > 0) load();
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [keys, fixed?.[0], fixed?.[1], length, connection.value, watchedId.value]);
  return { loaded, refused, loading };
}

/**
 * @param {Env[]} chosen
 * @param {[number, number]} span
 * @param {() => boolean} wanted
 * @returns {Promise<Loaded | null>}
 */
async function fetchSpan(chosen, span, wanted) {
  const id = watchedId.peek();
  if (id === null) return null;
  const ids = new Set(chosen.map((env) => env.sensor_id));
  const sensor_id = ids.size === 1 ? chosen[0]?.sensor_id : undefined;
  const [history, alarms, sensors] = await Promise.all([
    readingHistory(id, ...span, POINTS, { wanted, sensor_id }),
    // The server refuses if there are too many alarms. The charts then show no alarms.
    alarmsSince(id, span[0], wanted).catch(() => []),
    sensorsSince(id, span[0], wanted),
  ]);
  return history && { history, alarms: alarms ?? [], sensors: sensors ?? [], span };
}

/**
 * Return the chosen curves, grouped by metric and unit.
 * @param {Loaded | null} loaded
 * @param {Env[]} chosen
 */
function byUnit(loaded, chosen) {
  const curves = new Map(loaded?.history.sensors.map((curve) => [sensorKey(curve), curve]));
  /** @type {Map<string, Curve[]>} */
  const panels = new Map();
  for (const env of chosen) {
    const curve = curves.get(sensorKey(env));
    if (!curve) continue;
    const key = `${curve.metric} ${curve.unit}`;
    panels.set(key, [...(panels.get(key) ?? []), curve]);
  }
  return [...panels].map(([key, sameUnit]) => ({ key, curves: sameUnit }));
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
 * @returns {[number, number] | null} null if the span ends now and moves on
 */
function fixedSpan(options) {
  const [from, to] = ["from", "to"].map((name) => Date.parse(options.get(name) ?? ""));
  return from && to && from < to ? [from, to] : null;
}

/** @param {[number, number]} span */
function showSpan([from, to]) {
  const length = Math.max(MIN_SPAN, Math.min(MAX_SPAN, to - from));
  const end = Math.min((from + to) / 2 + length / 2, now.peek());
  const iso = (/** @type {number} */ time) => new Date(Math.round(time)).toISOString();
  setOptions({ from: iso(end - length), to: iso(end) });
}

/** @param {[number, number]} span */
function moves([from, to]) {
  const length = to - from;
  return {
    earlier: () => showSpan([from - length / 2, to - length / 2]),
    later: () => showSpan([from + length / 2, to + length / 2]),
    zoomIn: () => showSpan([from + length / 4, to - length / 4]),
    zoomOut: () => showSpan([from - length / 2, to + length / 2]),
    live: () => setOptions({ from: null, to: null }),
  };
}

const KEYS = /** @type {const} */ ({
  ArrowLeft: "earlier",
  ArrowRight: "later",
  "+": "zoomIn",
  "=": "zoomIn",
  "-": "zoomOut",
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
    <div class="segments" role="group" aria-label=${translate("timeRange")}>
      ${Object.keys(SPANS).map(
        (choice) =>
          html`<button
            type="button"
            key=${choice}
            aria-pressed=${live && choice === name}
            onClick=${() => setOptions({ span: choice, from: null, to: null })}
          >
            ${translate(/** @type {"span_day"} */ (`span_${choice}`))}
          </button>`,
      )}
    </div>
    <div class="segments" role="group" aria-label=${translate("move")}>
      <${Move} label=${translate("earlier")} act=${move.earlier} path="M10 3 5 8l5 5" />
      <${Move} label=${translate("later")} act=${move.later} path="m6 3 5 5-5 5" off=${live} />
      <${Move} label=${translate("zoomIn")} act=${move.zoomIn} path="M8 3v10M3 8h10" />
      <${Move} label=${translate("zoomOut")} act=${move.zoomOut} path="M3 8h10" />
    </div>
    <button type="button" aria-pressed=${live} onClick=${move.live}>${translate("live")}</button>
    <p class="span-shown">${formatSpan(span)}</p>
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
function formatSpan(span) {
  const [from, to] = span.map((time) => dateTime(zone.value, time));
  return `${from} – ${to} · ${usableZone(zone.value)}`;
}

/** @param {{all: Env[], chosen: Env[]}} props */
function Chooser({ all, chosen }) {
  const keysChosen = chosen.map(sensorKey);
  /** @param {string} key */
  function toggle(key) {
    const next = keysChosen.includes(key) ? keysChosen.filter((other) => other !== key) : [...keysChosen, key];
    setOptions({ sensor: next.slice(-MAX_CURVES).join(";") });
  }
  return html`<fieldset class="chooser">
    <legend>${translate("column_sensor")}</legend>
    ${all.map((env) => {
      const key = sensorKey(env);
      const index = keysChosen.indexOf(key);
      return html`<label key=${key}>
        <input type="checkbox" checked=${index >= 0} onChange=${() => toggle(key)} />
        <${Line} index=${index} />
        <span><bdi>${displayName(env.sensor_name)}</bdi> <small>${metricName(env.metric)}</small></span>
      </label>`;
    })}
  </fieldset>`;
}

/** Shows a sample of the line with which a sensor's curve is drawn. @param {{index: number}} props */
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
          <${Line} index=${colourOf(curve)} /> <bdi>${displayName(curve.sensor_name)}</bdi> <b>${valueAt(curve, time, bucket)}</b>
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
 * Return the value at a time: the mean, with the minimum and maximum if they differ.
 * @param {Curve} curve
 * @param {number | null} time seconds
 * @param {number} bucket seconds
 */
function valueAt(curve, time, bucket) {
  if (time === null) return "";
  const point = curve.points.find(([start]) => Math.abs(Date.parse(start) / 1000 - time) < bucket / 2);
  if (!point) return "—";
  const [, min, max, mean] = point;
  const text = formatValue(curve.metric, mean, curve.unit);
  if (min === max) return text;
  return `${text} (${formatValue(curve.metric, min, "")} … ${formatValue(curve.metric, max, "")})`;
}

/**
 * @param {{loaded: Loaded, panels: {curves: Curve[]}[], container: {current: HTMLElement | null}, loading: boolean}} props
 */
function Foot({ loaded, panels, container, loading }) {
  const name = displayName(watchedStorehouse.value?.storehouse.store_house_name ?? "");
  const curves = panels.flatMap((panel) => panel.curves);
  const all = new Map([...loaded.alarms, ...watchedAlarms.value].map((alarm) => [alarm.alarm_id, alarm]));
  const shown = [...all.values()].filter((alarm) => curves.some((curve) => sensorKey(curve) === sensorKey(alarm)));
  return html`<div class="chart-foot">
    <p class="quiet" role="status">
      ${translate("chartNote", { count: shown.length, span: duration(loaded.history.bucket_s) })}${loading ? " …" : ""}
    </p>
    <button type="button" onClick=${() => exportCsv(name, curves, zone.peek())}>${translate("exportCsv")}</button>
    <button
      type="button"
      onClick=${() => container.current && exportPicture(name, formatSpan(loaded.span), container.current)}
    >
      ${translate("exportPicture")}
    </button>
  </div>`;
}
