// Saves curves: as a table (CSV), as a picture (PNG).

import { colour } from "./canvas-colours.js";
import { local } from "../words/times.js";

/** @import { Curve } from "../contract.js" */

const COLUMNS = ["sensor", "metric", "unit", "time_utc", "time_local", "min", "max", "mean", "count"];
const MARGIN = 24; // pixels
const LINE = 20; // pixels

/**
 * @param {string} name
 * @param {Curve[]} curves
 * @param {string} zone
 */
export function exportCsv(name, curves, zone) {
  const format = local(zone, {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
    timeZoneName: "longOffset",
  });
  const rows = curves.flatMap(({ sensor_name, metric, unit, points }) =>
    points.map(([time, ...figures]) => [sensor_name, metric, unit, time, localTime(format, time), ...figures]),
  );
  const text = [COLUMNS, ...rows].map((row) => row.map(cell).join(",")).join("\r\n");
  // Without this mark (BOM), spreadsheets do not read it as UTF-8.
  save(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv;charset=utf-8" }), `${fileName(name)}.csv`);
}

/**
 * The local time with its offset from UTC, which tells apart the two hours of a clock change.
 * @param {Intl.DateTimeFormat} format
 * @param {string} time
 */
function localTime(format, time) {
  const parts = Object.fromEntries(format.formatToParts(Date.parse(time)).map(({ type, value }) => [type, value]));
  const { year, month, day, hour, minute, second, timeZoneName = "" } = parts;
  return `${year}-${month}-${day} ${hour}:${minute}:${second}${timeZoneName.replace("GMT", "") || "+00:00"}`;
}

/**
 * A name is input: a spreadsheet must not take it for a formula.
 * @param {string | number} value
 */
function cell(value) {
  if (typeof value === "number") return String(value);
  const harmless = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

/**
 * All charts of the page, one under the other, with what they show written above them.
 * @param {string} name
 * @param {string} span
 * @param {HTMLElement} container
 */
export function exportPicture(name, span, container) {
  const panels = [...container.querySelectorAll(".panel.chart")].map((panel) => ({
    canvas: /** @type {HTMLCanvasElement} */ (panel.querySelector("canvas")),
    title: [...panel.querySelectorAll("h3, .legend bdi")].map((element) => element.textContent).join(" · "),
  }));
  const scale = devicePixelRatio;
  const [gap, row] = [MARGIN * scale, LINE * scale];
  const width = Math.max(...panels.map(({ canvas }) => canvas.width)) + 2 * gap;
  const height = panels.reduce((sum, { canvas }) => sum + canvas.height + gap + row, 2 * gap + 2 * row);
  const picture = Object.assign(document.createElement("canvas"), { width, height });
  const ctx = /** @type {CanvasRenderingContext2D} */ (picture.getContext("2d"));
  ctx.fillStyle = colour("surface", container);
  ctx.fillRect(0, 0, width, height);
  ctx.fillStyle = colour("ink", container);
  const write = (/** @type {string} */ text, /** @type {number} */ y, /** @type {string} */ font) => {
    ctx.font = font;
    ctx.fillText(text, gap, y, width - 2 * gap);
  };
  write(name, gap + row * 0.6, `600 ${16 * scale}px system-ui, sans-serif`);
  write(span, gap + row * 1.6, `${13 * scale}px system-ui, sans-serif`);
  let y = gap + 2 * row;
  for (const { canvas, title } of panels) {
    write(title, y + row, `600 ${13 * scale}px system-ui, sans-serif`);
    ctx.drawImage(canvas, gap, y + row * 1.4);
    y += canvas.height + gap + row;
  }
  picture.toBlob((blob) => blob && save(blob, `${fileName(name)}.png`), "image/png");
}

/** @param {string} name */
function fileName(name) {
  return name.replace(/[^\p{L}\p{N} _-]+/gu, "_").slice(0, 80) || "storewatch";
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
