// A chart that shows for each sensor the mean and the band from minimum to maximum.

import { html } from "htm/preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { columns, limitSteps, usualInterval } from "./chart-data.js";
import { colour, whenColoursChange } from "./canvas-colours.js";
import { endOf, startOf } from "../data/alarm-state.js";
import { sensorKey, sensorOf } from "../data/sensors.js";
import { knownSeverity } from "../data/severity.js";
import { zone } from "../data/watched-storehouse.js";
import { displayName, translate } from "../words/translate.js";
import { formatNumber, formatValue, isSwitch } from "../words/values.js";
import { tickLabels, ticks } from "./time-ticks.js";

/** @import { Alarm, Curve, SensorAnswer } from "../contract.js" */

/**
 * @typedef {object} Props
 * @property {Curve[]} curves all with the same unit
 * @property {number} bucket seconds
 * @property {[number, number]} span milliseconds
 * @property {Alarm[]} [alarms]
 * @property {SensorAnswer[]} [sensors] with their past limits
 * @property {number} [height] pixels
 * @property {(curve: Curve) => number} [colourOf] returns the index of the curve's colour
 * @property {(span: [number, number]) => void} [onZoom] called when a span is selected
 * @property {(alarm: Alarm) => void} [onAlarm] called when an alarm is clicked
 * @property {(seconds: number | null) => void} [onCursor] called when the cursor moves
 */

const SECOND = 1000; // milliseconds
const TICK_WIDTH = 76; // pixels
const NEAR = 4; // times the range of the values; limits further away would flatten the curve and are not shown
export const COLOURS = 6;
const CRITICAL_LIMITS = ["high_high", "low_low"];
const DASHES = [[], [8, 4], [2, 4]];
const CURSOR = "storewatch"; // the charts of a page share one cursor

/** @param {Props} props */
export function Chart(props) {
  const container = /** @type {{current: HTMLElement | null}} */ (useRef(null));
  const latest = useRef(props);
  latest.current = props;
  const plot = /** @type {{current: uPlot | null}} */ (useRef(null));
  const shape = JSON.stringify([
    props.curves.map((curve) => [curve.sensor_id, curve.metric, props.colourOf?.(curve)]),
    zone.value,
    translate("otherLanguage"),
  ]);
  useEffect(() => {
    const element = /** @type {HTMLElement} */ (container.current);
    const make = () => {
      plot.current?.destroy();
      plot.current = draw(element, latest);
    };
    make();
    const resized = new ResizeObserver(() => {
      if (element.clientWidth > 0) plot.current?.setSize({ width: element.clientWidth, height: height(latest.current) });
    });
    resized.observe(element);
    const stop = whenColoursChange(make);
    return () => {
      stop();
      resized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);
  useEffect(() => {
    const [from, to] = props.span;
    plot.current?.batch(() => {
      plot.current?.setData(data(props), false);
      plot.current?.setScale("x", { min: from / SECOND, max: to / SECOND });
    });
  }, [props.curves, props.span[0], props.span[1], props.alarms, props.sensors]);
  return html`<div class="plot" ref=${container} role="img" aria-label=${summary(props)}></div>`;
}

/** Return the text alternative of the chart. @param {Props} props */
function summary({ curves }) {
  const parts = curves.map(({ sensor_name, metric, unit, points }) => {
    const name = displayName(sensor_name);
    if (points.length === 0) return translate("chartEmpty", { name });
    const low = Math.min(...points.map(([, min]) => min));
    const high = Math.max(...points.map(([, , max]) => max));
    return translate("chartSummary", { name, low: formatValue(metric, low, unit), high: formatValue(metric, high, unit) });
  });
  return parts.join("; ");
}

/** @param {Props} props */
function height(props) {
  return props.height ?? 260;
}

/** @param {Props} props */
function data({ curves, bucket }) {
  return /** @type {uPlot.AlignedData} */ (columns(curves, bucket, curves.map((curve) => intervalOf(curve, bucket))));
}

/**
 * @param {Curve} curve
 * @param {number} bucket
 */
function intervalOf(curve, bucket) {
  const sensor = sensorOf(curve);
  return sensor ? sensor.interval_s : usualInterval(curve.points, bucket);
}

/**
 * @param {HTMLElement} element
 * @param {{current: Props}} latest
 */
function draw(element, latest) {
  const { curves } = latest.current;
  const { metric = "", unit } = curves[0] ?? {};
  const ink = colour("quiet", element);
  const axis = { stroke: ink, font: `12px ${getComputedStyle(element).fontFamily}`, ticks: { show: false } };
  const grid = { stroke: colour("line", element), width: 1 };
  const switches = isSwitch(metric, unit);
  const colours = curves.map((curve, index) => latest.current.colourOf?.(curve) ?? index);
  return new uPlot(
    {
      width: Math.max(element.clientWidth, 100),
      height: height(latest.current),
      ms: 1e-3,
      legend: { show: false },
      padding: [12, 24, 0, 0],
      cursor: {
        sync: { key: CURSOR },
        drag: { x: true, y: false, setScale: false },
        points: { size: 7 },
        y: false,
        bind: { dblclick: () => () => null },
      },
      scales: {
        x: { time: false, range: () => /** @type {[number, number]} */ (latest.current.span.map((time) => time / SECOND)) },
        y: { range: (_, low, high) => reach(latest.current, low, high, switches) },
      },
      axes: [
        {
          ...axis,
          grid,
          size: 44,
          splits: (self) => timeTicks(self).times.map((time) => time / SECOND),
          values: (self, splits) => tickLabels(zone.peek(), splits.map((time) => time * SECOND), timeTicks(self).step),
        },
        {
          ...axis,
          grid,
          size: 58,
          ...(switches
            ? { splits: () => [0, 1], values: () => [0, 1].map((value) => formatValue(metric, value, unit)) }
            : { values: (_, splits) => splits.map((value) => formatNumber(value)) }),
        },
      ],
      series: [{}, ...curves.flatMap((curve, index) => seriesOf(curve, colours[index] ?? 0, element))],
      bands: colours.map((number, index) => ({
        series: /** @type {[number, number]} */ ([3 * index + 2, 3 * index + 1]),
        fill: withOpacity(curveColour(number, element), 0.16),
      })),
      hooks: {
        drawClear: [(self) => drawAlarms(self, latest.current, element)],
        draw: [(self) => drawLimits(self, latest.current, element)],
        setSelect: [(self) => select(self, latest.current)],
        setCursor: [(self) => latest.current.onCursor?.(cursorTime(self))],
        ready: [(self) => self.over.addEventListener("click", (event) => click(self, latest.current, event))],
      },
    },
    data(latest.current),
    element,
  );
}

/** @param {uPlot} self */
function cursorTime(self) {
  const index = self.cursor.idx;
  return index == null ? null : Number(self.data[0][index]);
}

/** @param {uPlot} self */
function timeTicks(self) {
  const most = Math.max(2, Math.floor(self.bbox.width / devicePixelRatio / TICK_WIDTH));
  return ticks(zone.peek(), Number(self.scales.x?.min) * SECOND, Number(self.scales.x?.max) * SECOND, most);
}

/**
 * @param {Curve} curve
 * @param {number} index of the curve's colour
 * @param {Element} element
 * @returns {uPlot.Series[]} minimum, maximum, mean
 */
function seriesOf(curve, index, element) {
  const stroke = curveColour(index, element);
  const stepped = isSwitch(curve.metric, curve.unit) || sensorOf(curve)?.interval_s === null;
  const paths = stepped ? uPlot.paths.stepped?.({ align: 1 }) : uPlot.paths.linear?.();
  const dash = DASHES[Math.floor(index / COLOURS) % DASHES.length] ?? [];
  const edge = { stroke: withOpacity(stroke, 0.45), width: 1, paths, points: { show: false } };
  return [edge, edge, { ...edge, stroke, width: 1.75, dash }];
}

/**
 * @param {number} index
 * @param {Element} element
 */
function curveColour(index, element) {
  return colour(`curve-${index % COLOURS}`, element);
}

/**
 * @param {string} rgb
 * @param {number} opacity
 */
function withOpacity(rgb, opacity) {
  return rgb.replace(/^rgb\((.*)\)$/, `rgba($1, ${opacity})`);
}

/**
 * Return the range of values to show. It includes the limits that are near the values.
 * @param {Props} props
 * @param {number | null} low
 * @param {number | null} high
 * @param {boolean} switches
 * @returns {[number, number]}
 */
function reach(props, low, high, switches) {
  if (switches) return [-0.15, 1.15];
  if (low === null || high === null) return [0, 1];
  const around = Math.max(high - low, 1) * NEAR;
  const near = limitsOf(props).filter(({ limit }) => limit > low - around && limit < high + around);
  const all = [low, high, ...near.map(({ limit }) => limit)];
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const margin = (most - least || 1) * 0.08;
  return [least - margin, most + margin];
}

/** Return the limits that are the same for all sensors, over time. @param {Props} props */
function limitsOf({ curves, sensors, span }) {
  const byKey = new Map(sensors?.map((sensor) => [sensorKey(sensor), sensor]));
  return limitSteps(curves.map((curve) => byKey.get(sensorKey(curve)) ?? sensorOf(curve)), span);
}

/**
 * @param {uPlot} self
 * @param {Props} props
 * @param {Element} element
 */
function drawLimits(self, props, element) {
  if (isSwitch(props.curves[0]?.metric ?? "", props.curves[0]?.unit)) return;
  const { ctx, bbox } = self;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.lineWidth = devicePixelRatio;
  const x = (/** @type {number} */ time) => Math.round(self.valToPos(time / SECOND, "x", true));
  const y = (/** @type {number} */ limit) => Math.round(self.valToPos(limit, "y", true));
  limitsOf(props).forEach(({ name, start, end, limit }, index, steps) => {
    ctx.strokeStyle = colour(CRITICAL_LIMITS.includes(name) ? "critical" : "warning", element);
    const before = steps[index - 1];
    if (before?.name === name && before.end === start) line(ctx, x(start), y(before.limit), x(start), y(limit));
    line(ctx, x(start), y(limit), x(end), y(limit));
  });
  // The limit that an alarm violated is drawn as it was at the time of the alarm.
  ctx.setLineDash([]);
  ctx.lineWidth = 2 * devicePixelRatio;
  for (const alarm of shownAlarms(props)) {
    if (alarm.limit === null || alarm.kind === "rate" || alarm.kind === "no_data") continue;
    const [left, right] = sides(self, props, alarm);
    ctx.strokeStyle = colour(knownSeverity(alarm.severity), element);
    line(ctx, left, y(alarm.limit), Math.max(right, left + 3), y(alarm.limit));
  }
  ctx.restore();
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {number} x
 * @param {number} y
 * @param {number} toX
 * @param {number} toY
 */
function line(ctx, x, y, toX, toY) {
  ctx.beginPath();
  ctx.moveTo(x, y);
  ctx.lineTo(toX, toY);
  ctx.stroke();
}

/**
 * @param {uPlot} self
 * @param {Props} props
 * @param {Element} element
 */
function drawAlarms(self, props, element) {
  const { ctx, bbox } = self;
  ctx.save();
  for (const alarm of shownAlarms(props)) {
    const [left, right] = sides(self, props, alarm);
    const width = Math.max(right - left, 2 * devicePixelRatio);
    const alarmColour = colour(knownSeverity(alarm.severity), element);
    ctx.fillStyle = withOpacity(alarmColour, 0.12);
    ctx.fillRect(left, bbox.top, width, bbox.height);
    ctx.fillStyle = alarmColour;
    ctx.fillRect(left, bbox.top, width, 4 * devicePixelRatio);
  }
  ctx.restore();
}

/** Return the alarms that the sensors had in the span. @param {Props} props */
function shownAlarms({ alarms = [], curves, span }) {
  return alarms.filter(
    (alarm) =>
      curves.some((curve) => curve.sensor_id === alarm.sensor_id && curve.metric === alarm.metric) &&
      startOf(alarm) < span[1] &&
      endOf(alarm, Infinity) > span[0],
  );
}

/**
 * Return the left and the right edge of an alarm's band, in pixels of the canvas.
 * @param {uPlot} self
 * @param {Props} props
 * @param {Alarm} alarm
 * @returns {[number, number]}
 */
function sides(self, props, alarm) {
  const { left, width } = self.bbox;
  const at = (/** @type {number} */ time) => {
    const x = self.valToPos(time / SECOND, "x", true);
    return Math.max(left, Math.min(left + width, x));
  };
  return [at(startOf(alarm)), at(endOf(alarm, props.span[1]))];
}

/**
 * @param {uPlot} self
 * @param {Props} props
 */
function select(self, props) {
  const { left, width } = self.select;
  self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  if (width < 5) return; // a click
  const at = (/** @type {number} */ x) => self.posToVal(x, "x") * SECOND;
  props.onZoom?.([at(left), at(left + width)]);
}

/**
 * @param {uPlot} self
 * @param {Props} props
 * @param {MouseEvent} event
 */
function click(self, props, event) {
  const x = (event.clientX - self.over.getBoundingClientRect().left) * devicePixelRatio + self.bbox.left;
  const near = 4 * devicePixelRatio;
  const hit = shownAlarms(props).find((alarm) => {
    const [left, right] = sides(self, props, alarm);
    return left - near <= x && x <= right + near;
  });
  if (hit) props.onAlarm?.(hit);
}
