// The curve of an alarm. The chart with its library is fetched when somebody looks at one.

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { history } from "../data/history.js";
import { sensorKey, sensorsSince } from "../data/sensors.js";
import { Refused, connection } from "../data/socket.js";
import { now } from "../data/time.js";
import { say } from "../words/say.js";

/** @import { Alarm, History, Sensor } from "../contract.js" */
/** @typedef {{chart: Function, history: History, known: Sensor[], span: [number, number]}} Found */

const MARGIN = 0.35; // of the alarm's length, before and after it
const LEAST = 1_800_000; // milliseconds
const POINTS = 600;

/** @param {{alarm: Alarm}} props */
export function LateChart({ alarm }) {
  const [found, setFound] = useState(/** @type {Found | null} */ (null));
  const [missing, setMissing] = useState(false);
  const end = alarm.cleared;
  useEffect(() => {
    let wanted = true;
    if (connection.value === "connected") {
      load(alarm, () => wanted).then(
        (answer) => {
          if (!wanted) return;
          if (answer) setFound(answer);
          else setMissing(true);
        },
        (error) => {
          if (!(error instanceof Refused)) throw error;
          if (wanted) setMissing(true);
        },
      );
    }
    return () => void (wanted = false);
  }, [alarm.alarm_id, end, connection.value]);
  if (missing) return null;
  return html`<section class="panel curve">
    <h3>${say("curve")}</h3>
    ${found
      ? html`<${found.chart} sensors=${found.history.sensors} bucket=${found.history.bucket_s} span=${found.span} alarms=${[alarm]} known=${found.known} />`
      : html`<p class="notice">${say("loading")}</p>`}
  </section>`;
}

/**
 * @param {Alarm} alarm
 * @param {() => boolean} wanted
 * @returns {Promise<Found | null>}
 */
async function load(alarm, wanted) {
  const begin = Date.parse(alarm.since ?? alarm.raised);
  const end = alarm.cleared === null ? now.peek() : Date.parse(alarm.cleared);
  const margin = Math.max(LEAST, (end - begin) * MARGIN);
  const span = /** @type {[number, number]} */ ([begin - margin, Math.min(end + margin, now.peek())]);
  const options = { wanted, sensor_id: alarm.sensor_id ?? undefined };
  const [module, answer, known] = await Promise.all([
    import("./chart.js"),
    history(alarm.store_house_id, ...span, POINTS, options),
    sensorsSince(alarm.store_house_id, span[0], wanted),
  ]);
  if (!answer) return null;
  const its = answer.sensors.filter((sensor) => sensorKey(sensor) === sensorKey(alarm));
  return { chart: module.Chart, history: { ...answer, sensors: its }, known: known ?? [], span };
}
