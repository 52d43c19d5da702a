// The tiles tab: every sensor as a tile.

import { html } from "htm/preact";
import { Age, LimitBar, Sparkline, Trend } from "../components/reading.js";
import { StateMark } from "../components/state-mark.js";
import { recentReadings } from "../data/recent-readings.js";
import { ageing, severityOf, stateOf } from "../data/sensor-state.js";
import { sensorKey, sensorOf } from "../data/sensors.js";
import { offers } from "../data/socket.js";
import { minute, now } from "../data/time.js";
import { envs, zone } from "../data/watched-storehouse.js";
import { route, toStorehouse } from "../route.js";
import { displayName, translate } from "../words/translate.js";
import { clock } from "../words/times.js";
import { isSwitch, valueAndUnit } from "../words/values.js";

/** @import { Env } from "../contract.js" */

const HOUR = 3_600_000; // milliseconds

export function Tiles() {
  const all = envs.value?.envs ?? [];
  if (all.length === 0) return html`<p class="notice">${translate("noReadings")}</p>`;
  return html`<ul class="tiles" aria-label=${translate("readings")}>
    ${all.map((env) => html`<${Tile} key=${sensorKey(env)} env=${env} />`)}
  </ul>`;
}

/** @param {{env: Env}} props */
export function Tile({ env }) {
  const { value, unit } = valueAndUnit(env.metric, env.value, env.unit);
  const limits = sensorOf(env)?.limits;
  return html`<li class="tile" data-state=${stateOf(env)} data-quality=${env.quality} data-ageing=${ageing(env)}>
    <${Name} env=${env} />
    <p class="value">
      <span class="number" data-empty=${env.value === null} data-word=${isSwitch(env.metric, env.unit)}>${value}</span> <span class="unit">${unit}</span>
      <${Trend} env=${env} />
    </p>
    <${RecentSpark} env=${env} />
    ${limits && html`<${LimitBar} env=${env} limits=${limits} />`}
    <p class="marks"><${Marks} env=${env} /></p>
    <p class="when">
      <${Age} time=${env.time} />
      ${env.time && html`<time datetime=${env.time}>${clock(zone.value, minute.value)(env.time)}</time>`}
    </p>
  </li>`;
}

/** Shows the name of a sensor as a link to the sensor's chart. @param {{env: Env}} props */
export function Name({ env }) {
  const name = displayName(env.sensor_name);
  if (!offers("queryEnvs")) return html`<bdi class="name">${name}</bdi>`;
  const address = `${toStorehouse(route.value.storehouse, "charts")}?sensor=${encodeURIComponent(sensorKey(env))}`;
  return html`<a class="name" href=${address}><bdi>${name}</bdi></a>`;
}

/** Shows a sensor's worst alarm, and its quality if it is not good or no alarm is active. @param {{env: Env}} props */
export function Marks({ env }) {
  const severity = severityOf(env);
  return html`
    ${severity && html`<${StateMark} state=${severity} />`}
    ${(env.quality !== "good" || !severity) && html`<${StateMark} state=${env.quality} />`}
  `;
}

/** @param {{env: Env}} props */
function RecentSpark({ env }) {
  if (isSwitch(env.metric, env.unit)) return null;
  const start = now.peek() - HOUR;
  const points = recentReadings(env).value.map(
    ([time, value]) => /** @type {[number, number]} */ ([Math.max(0, (time - start) / HOUR), value]),
  );
  return html`<${Sparkline} points=${points} />`;
}
