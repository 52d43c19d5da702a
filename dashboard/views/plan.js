// The floor plan: the sensors where they are, or in rows where nobody has said.

import { html } from "htm/preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { apart } from "../parts/apart.js";
import { Age } from "../parts/age.js";
import { Glyph } from "../parts/state.js";
import { sensorKey, sensorOf, sensorsKnown } from "../data/sensors.js";
import { offers } from "../data/socket.js";
import { ageing, stateOf } from "../data/states.js";
import { envs } from "../data/watch.js";
import { route, toStorehouse } from "../route.js";
import { named, say } from "../words/say.js";
import { inWords, measured } from "../words/values.js";

/** @import { Env } from "../contract.js" */

// Labels, in pixels: with the sensor's name where there is room for it.
const LARGE = { width: 132, height: 60 };
const MEDIUM = { width: 88, height: 44 };
const SMALL = { width: 86, height: 38 };
const SHARE = 0.35; // of the floor that labels may cover

export function Plan() {
  const all = envs.value?.envs ?? [];
  const placed = all.some((env) => sensorOf(env)?.position);
  if (all.length === 0) return html`<p class="notice">${say("noReadings")}</p>`;
  if (!sensorsKnown.value) return html`<p class="notice">${say("loading")}</p>`;
  return html`
    ${!placed && html`<p class="notice">${say("noPositions")}</p>`}
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
  const label = [LARGE, MEDIUM].find((one) => one.width * one.height * all.length < SHARE * size.width * size.height) ?? SMALL;
  const spots = apart(positions(all), size, label);
  return html`<ul class="floor" ref=${floor} aria-label=${say("tab_plan")}>
    ${size.width > 0 &&
    all.map((env, index) => html`<${Spot} key=${sensorKey(env)} env=${env} at=${spots[index]} label=${label} />`)}
  </ul>`;
}

/** @param {{env: Env, at: [number, number], label: {width: number, height: number}}} props */
function Spot({ env, at, label }) {
  const state = stateOf(env);
  const { value, unit } = measured(env.metric, env.value, env.unit);
  const place = { left: `${at[0]}px`, top: `${at[1]}px`, width: `${label.width}px`, height: `${label.height}px` };
  const words = `${env.sensor_name}: ${inWords(env.metric, env.value, env.unit)}, ${named("state", state)}`;
  const inside = html`
    <bdi class=${label === LARGE ? "spot-name" : "sr"}>${env.sensor_name}</bdi>
    <span class="spot-value">
      <${Glyph} state=${state} /> <span class="number">${value}</span> <span class="unit">${unit}</span>
    </span>
    <span class="sr">${named("state", state)}</span>
    ${env.quality !== "good" && html`<span class="spot-foot"><${Age} time=${env.time} /></span>`}
  `;
  const address = `${toStorehouse(route.value.storehouse, "charts")}?sensor=${encodeURIComponent(sensorKey(env))}`;
  return html`<li class="spot" style=${place} data-state=${state} data-ageing=${ageing(env)}>
    ${offers("queryEnvs")
      ? html`<a href=${address} title=${words}>${inside}</a>`
      : html`<span title=${words}>${inside}</span>`}
  </li>`;
}

/**
 * Where each sensor is, from 0 to 1; those without a place stand in rows.
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
