// A chart: of each sensor the band from its lowest to its highest value and the mean inside it.

import { html } from "htm/preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { columns, usualInterval } from "./chart-data.js";
import { colour, whenColoursChange } from "./colours.js";
import { sensorKey, sensorOf } from "../data/sensors.js";
import { zone } from "../data/watch.js";
import { say } from "../words/say.js";
import { inWords, isSwitch, number } from "../words/values.js";
import { limitSteps } from "./limit-steps.js";
import { tickLabels, ticks } from "./ticks.js";

/** @import { Alarm, History, Sensor } from "../contract.js" */
/** @typedef {History["sensors"][number]} Curve */

/**
 * @typedef {object} Props
 * @property {Curve[]} sensors all of one unit
 * @property {number} bucket seconds
 * @property {[number, number]} span milliseconds
 * @property {Alarm[]} [alarms]
 * @property {Sensor[]} [known] the sensors with the limits that they had
 * @property {number} [height] pixels
 * @property {(sensor: Curve) => number} [colourOf] which of the colours a sensor has
 * @property {(span: [number, number]) => void} [zoom] a person has drawn a span
 * @property {(alarm: Alarm) => void} [open] a person has clicked an alarm
 * @property {(seconds: number | null) => void} [point] where the cursor is
 * @property {(plot: uPlot | null) => void} [made]
 */

const SECOND = 1000; // milliseconds
const TICK_WIDTH = 76; // pixels
const NEAR = 4; // times the span of the values: limits further away would press the curve flat
export const COLOURS = 6;
const GRAVE = ["high_high", "low_low"];
const DASHES = [[], [8, 4], [2, 4]];
const CURSOR = "storewatch"; // the charts of a page have one cursor

/** @param {Props} props */
export function Chart(props) {
  const place = /** @type {{current: HTMLElement | null}} */ (useRef(null));
  const latest = useRef(props);
  latest.current = props;
  const plot = /** @type {{current: uPlot | null}} */ (useRef(null));
  const shape = JSON.stringify([
    props.sensors.map((sensor) => [sensor.sensor_id, sensor.metric, props.colourOf?.(sensor)]),
    zone.value,
    say("otherLanguage"),
  ]);
  useEffect(() => {
    const element = /** @type {HTMLElement} */ (place.current);
    const make = () => {
      plot.current?.destroy();
      plot.current = draw(element, latest);
      latest.current.made?.(plot.current);
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
      latest.current.made?.(null);
    };
  }, [shape]);
  useEffect(() => {
    const [from, to] = props.span;
    plot.current?.batch(() => {
      plot.current?.setData(data(props), false);
      plot.current?.setScale("x", { min: from / SECOND, max: to / SECOND });
    });
  }, [props.sensors, props.span[0], props.span[1], props.alarms, props.known]);
  return html`<div class="plot" ref=${place} role="img" aria-label=${summary(props)}></div>`;
}

/** What the picture shows, for who cannot see it. @param {Props} props */
function summary({ sensors }) {
  const parts = sensors.map(({ sensor_name, metric, unit, points }) => {
    if (points.length === 0) return say("chartEmpty", { name: sensor_name });
    const low = Math.min(...points.map(([, min]) => min));
    const high = Math.max(...points.map(([, , max]) => max));
    return say("chartSummary", { name: sensor_name, low: inWords(metric, low, unit), high: inWords(metric, high, unit) });
  });
  return parts.join("; ");
}

/** @param {Props} props */
function height(props) {
  return props.height ?? 260;
}

/** @param {Props} props */
function data({ sensors, bucket }) {
  return /** @type {uPlot.AlignedData} */ (columns(sensors, bucket, sensors.map((one) => intervalOf(one, bucket))));
}

/**
 * @param {Curve} sensor
 * @param {number} bucket
 */
function intervalOf(sensor, bucket) {
  const known = sensorOf(sensor);
  return known ? known.interval_s : usualInterval(sensor.points, bucket);
}

/**
 * @param {HTMLElement} element
 * @param {{current: Props}} latest
 */
function draw(element, latest) {
  const { sensors } = latest.current;
  const first = sensors[0];
  const [metric, unit] = [first?.metric ?? "", first?.unit ?? null];
  const ink = colour("quiet", element);
  const axis = { stroke: ink, font: `12px ${getComputedStyle(element).fontFamily}`, ticks: { show: false } };
  const grid = { stroke: colour("line", element), width: 1 };
  const switches = isSwitch(metric, unit);
  const colours = sensors.map((sensor, index) => latest.current.colourOf?.(sensor) ?? index);
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
            ? { splits: () => [0, 1], values: () => [0, 1].map((value) => inWords(metric, value, unit)) }
            : { values: (_, splits) => splits.map((value) => number(value)) }),
        },
      ],
      series: [{}, ...sensors.flatMap((sensor, index) => seriesOf(sensor, colours[index] ?? 0, element))],
      bands: colours.map((one, index) => ({
        series: /** @type {[number, number]} */ ([3 * index + 2, 3 * index + 1]),
        fill: faint(stroked(one, element), 0.16),
      })),
      hooks: {
        drawClear: [(self) => drawAlarms(self, latest.current, element)],
        draw: [(self) => drawLimits(self, latest.current, element)],
        setSelect: [(self) => select(self, latest.current)],
        setCursor: [(self) => latest.current.point?.(self.cursor.idx == null ? null : Number(self.data[0][self.cursor.idx]))],
        ready: [(self) => self.over.addEventListener("click", (event) => click(self, latest.current, event))],
      },
    },
    data(latest.current),
    element,
  );
}

/** @param {uPlot} self */
function timeTicks(self) {
  const most = Math.max(2, Math.floor(self.bbox.width / devicePixelRatio / TICK_WIDTH));
  return ticks(zone.peek(), Number(self.scales.x?.min) * SECOND, Number(self.scales.x?.max) * SECOND, most);
}

/**
 * @param {Curve} sensor
 * @param {number} index which of the colours
 * @param {Element} element
 * @returns {uPlot.Series[]} lowest, highest, mean
 */
function seriesOf(sensor, index, element) {
  const stroke = stroked(index, element);
  const stepped = isSwitch(sensor.metric, sensor.unit) || sensorOf(sensor)?.interval_s === null;
  const paths = stepped ? uPlot.paths.stepped?.({ align: 1 }) : uPlot.paths.linear?.();
  const dash = DASHES[Math.floor(index / COLOURS) % DASHES.length] ?? [];
  const edge = { stroke: faint(stroke, 0.45), width: 1, paths, points: { show: false } };
  return [edge, edge, { ...edge, stroke, width: 1.75, dash }];
}

/**
 * @param {number} index
 * @param {Element} element
 */
function stroked(index, element) {
  return colour(`curve-${index % COLOURS}`, element);
}

/**
 * @param {string} rgb
 * @param {number} opacity
 */
function faint(rgb, opacity) {
  return rgb.replace(/^rgb\((.*)\)$/, `rgba($1, ${opacity})`);
}

/**
 * The values that are shown, with the limits where these are near.
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

/** The limits that the sensors have in common, as they were at each time. @param {Props} props */
function limitsOf({ sensors, known, span }) {
  const told = new Map(known?.map((sensor) => [sensorKey(sensor), sensor]));
  return limitSteps(sensors.map((sensor) => told.get(sensorKey(sensor)) ?? sensorOf(sensor)), span);
}

/**
 * @param {uPlot} self
 * @param {Props} props
 * @param {Element} element
 */
function drawLimits(self, props, element) {
  if (isSwitch(props.sensors[0]?.metric ?? "", props.sensors[0]?.unit)) return;
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
    ctx.strokeStyle = colour(GRAVE.includes(name) ? "critical" : "warning", element);
    const before = steps[index - 1];
    if (before?.name === name && before.end === start) line(ctx, x(start), y(before.limit), x(start), y(limit));
    line(ctx, x(start), y(limit), x(end), y(limit));
  });
  // A limit that was broken is drawn as it was then, whatever it is by now.
  ctx.setLineDash([]);
  ctx.lineWidth = 2 * devicePixelRatio;
  for (const alarm of shown(props)) {
    if (alarm.limit === null || alarm.kind === "rate" || alarm.kind === "no_data") continue;
    const [left, right] = sides(self, props, alarm);
    ctx.strokeStyle = colour(alarm.severity, element);
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
  for (const alarm of shown(props)) {
    const [left, right] = sides(self, props, alarm);
    const width = Math.max(right - left, 2 * devicePixelRatio);
    const its = colour(alarm.severity, element);
    ctx.fillStyle = faint(its, 0.12);
    ctx.fillRect(left, bbox.top, width, bbox.height);
    ctx.fillStyle = its;
    ctx.fillRect(left, bbox.top, width, 4 * devicePixelRatio);
  }
  ctx.restore();
}

/** Alarms of the sensors that are drawn here. @param {Props} props */
function shown({ alarms = [], sensors, span }) {
  return alarms.filter(
    (alarm) =>
      sensors.some((sensor) => sensor.sensor_id === alarm.sensor_id && sensor.metric === alarm.metric) &&
      begin(alarm) < span[1] &&
      (alarm.cleared === null || Date.parse(alarm.cleared) > span[0]),
  );
}

/** @param {Alarm} alarm */
function begin(alarm) {
  return Date.parse(alarm.since ?? alarm.raised);
}

/**
 * Where an alarm's band begins and ends, in the canvas's pixels.
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
  return [at(begin(alarm)), at(alarm.cleared === null ? props.span[1] : Date.parse(alarm.cleared))];
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
  props.zoom?.([at(left), at(left + width)]);
}

/**
 * @param {uPlot} self
 * @param {Props} props
 * @param {MouseEvent} event
 */
function click(self, props, event) {
  const x = (event.clientX - self.over.getBoundingClientRect().left) * devicePixelRatio + self.bbox.left;
  const near = 4 * devicePixelRatio;
  const hit = shown(props).find((alarm) => {
    const [left, right] = sides(self, props, alarm);
    return left - near <= x && x <= right + near;
  });
  if (hit) props.open?.(hit);
}
