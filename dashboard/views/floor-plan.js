// The floor plan: the sensors at their positions. Sensors without a position are shown in rows.

import { html } from "htm/preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { spreadLabels } from "../components/spread-labels.js";
import { Age } from "../components/reading.js";
import { Glyph } from "../components/state-mark.js";
import { ageing, stateOf } from "../data/sensor-state.js";
import { sensorKey, sensorOf, sensorsLoaded } from "../data/sensors.js";
import { offers } from "../data/socket.js";
import { envs } from "../data/watched-storehouse.js";
import { route, toStorehouse } from "../route.js";
import { displayName, translate, translateCode } from "../words/translate.js";
import { formatValue, valueAndUnit } from "../words/values.js";

/** @import { Env } from "../contract.js" */

// Sizes of labels, in pixels. Only large labels show the name of the sensor.
const LARGE = { width: 132, height: 60 };
const MEDIUM = { width: 88, height: 44 };
const SMALL = { width: 86, height: 38 };
const SHARE = 0.35; // fraction of the floor that labels may cover

export function FloorPlan() {
  const all = envs.value?.envs ?? [];
  const placed = all.some((env) => sensorOf(env)?.position);
  if (all.length === 0) return html`<p class="notice">${translate("noReadings")}</p>`;
  if (!sensorsLoaded.value) return html`<p class="notice">${translate("loading")}</p>`;
  return html`
    ${!placed && html`<p class="notice">${translate("noPositions")}</p>`}
    <${Floor} all=${all} />
  `;
}

/** @param {{all: Env[]}} props */
function Floor({ all }) {
  const floor = /** @type {{current: HTMLElement | null}} */ (useRef(null));
  const [size, setSize] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const element = /** @type {HTMLElement} */ (floor.current);
    const observer = new ResizeObserver(() => setSize({ width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const room = (SHARE * size.width * size.height) / all.length;
  const label = [LARGE, MEDIUM].find(({ width, height }) => width * height < room) ?? SMALL;
  const spots = spreadLabels(positions(all), size, label);
  return html`<ul class="floor" ref=${floor} aria-label=${translate("tab_plan")}>
    ${size.width > 0 &&
    all.map((env, index) => html`<${Spot} key=${sensorKey(env)} env=${env} at=${spots[index]} label=${label} />`)}
  </ul>`;
}

/** @param {{env: Env, at: [number, number], label: {width: number, height: number}}} props */
function Spot({ env, at, label }) {
  const state = stateOf(env);
  const { value, unit } = valueAndUnit(env.metric, env.value, env.unit);
  const style = { left: `${at[0]}px`, top: `${at[1]}px`, width: `${label.width}px`, height: `${label.height}px` };
  const name = displayName(env.sensor_name);
  const words = `${name}: ${formatValue(env.metric, env.value, env.unit)}, ${translateCode("state", state)}`;
  const inside = html`
    <bdi class=${label === LARGE ? "spot-name" : "sr"}>${name}</bdi>
    <span class="spot-value">
      <${Glyph} state=${state} /> <span class="number">${value}</span> <span class="unit">${unit}</span>
    </span>
    <span class="sr">${translateCode("state", state)}</span>
    ${env.quality !== "good" && html`<span class="spot-foot"><${Age} time=${env.time} /></span>`}
  `;
  const address = `${toStorehouse(route.value.storehouse, "charts")}?sensor=${encodeURIComponent(sensorKey(env))}`;
  return html`<li class="spot" style=${style} data-state=${state} data-ageing=${ageing(env)}>
    ${offers("queryEnvs")
      ? html`<a href=${address} title=${words}>${inside}</a>`
      : html`<span title=${words}>${inside}</span>`}
  </li>`;
}

/**
 * Return the position of each sensor, from 0 to 1. Sensors without a position are placed in rows.
 * @param {Env[]} all
 * @returns {[number, number][]}
 */
function positions(all) {
  const columns = Math.ceil(Math.sqrt(all.length * 1.6));
  const rows = Math.ceil(all.length / columns);
  return all.map((env, index) => {
    const inRows = [((index % columns) + 0.5) / columns, (Math.floor(index / columns) + 0.5) / rows];
    return /** @type {[number, number]} */ (sensorOf(env)?.position ?? inRows);
  });
}
