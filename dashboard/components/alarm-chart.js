// The chart of an alarm. Its code and its library are loaded when the first alarm is opened.

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { endOf, startOf } from "../data/alarm-state.js";
import { readingHistory } from "../data/history.js";
import { sensorKey, sensorsSince } from "../data/sensors.js";
import { Refused, connection } from "../data/socket.js";
import { now } from "../data/time.js";
import { translate } from "../words/translate.js";

/** @import { Alarm } from "../contract.js" */
/** @import { ChartData } from "../types.js" */

const MARGIN = 0.35; // margin before and after the alarm, as a fraction of the alarm's length
const MIN_MARGIN = 1_800_000; // milliseconds
const POINTS = 600;

/** @param {{alarm: Alarm}} props */
export function AlarmChart({ alarm }) {
  const [loaded, setLoaded] = useState(/** @type {(ChartData & {chart: Function}) | null} */ (null));
  const [missing, setMissing] = useState(false);
  const end = alarm.cleared;
  useEffect(() => {
    let wanted = true;
    if (connection.value === "connected") {
      load(alarm, () => wanted).then(
        (answer) => {
          if (!wanted) return;
          if (answer) setLoaded(answer);
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
  return html`<section class="panel chart-panel">
    <h3>${translate("chart")}</h3>
    ${loaded
      ? html`<${loaded.chart}
          curves=${loaded.history.sensors}
          bucket=${loaded.history.bucket_s}
          span=${loaded.span}
          alarms=${[alarm]}
          sensors=${loaded.sensors}
        />`
      : html`<p class="notice">${translate("loading")}</p>`}
  </section>`;
}

/**
 * @param {Alarm} alarm
 * @param {() => boolean} wanted
 * @returns {Promise<(ChartData & {chart: Function}) | null>}
 */
async function load(alarm, wanted) {
  const start = startOf(alarm);
  const end = endOf(alarm, now.peek());
  const margin = Math.max(MIN_MARGIN, (end - start) * MARGIN);
  const span = /** @type {[number, number]} */ ([start - margin, Math.min(end + margin, now.peek())]);
  const options = { wanted, sensor_id: alarm.sensor_id ?? undefined };
  const [module, history, sensors] = await Promise.all([
    import("./chart.js"),
    readingHistory(alarm.store_house_id, ...span, POINTS, options),
    sensorsSince(alarm.store_house_id, span[0], wanted),
  ]);
  if (!history) return null;
  const curves = history.sensors.filter((curve) => sensorKey(curve) === sensorKey(alarm));
  return { chart: module.Chart, history: { ...history, sensors: curves }, sensors: sensors ?? [], span };
}
