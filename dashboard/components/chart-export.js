// Exports charts as CSV and as PNG.

import { colour } from "./canvas-colours.js";
import { local } from "../words/times.js";
import { displayName } from "../words/translate.js";

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
    points.map(([time, ...figures]) => [displayName(sensor_name), metric, unit, time, localTime(format, time), ...figures]),
  );
  const text = [COLUMNS, ...rows].map((row) => row.map(cell).join(",")).join("\r\n");
  // Spreadsheets read the file as UTF-8 only with a byte order mark.
  save(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv;charset=utf-8" }), `${fileName(name)}.csv`);
}

/**
 * Return the local time with its UTC offset, which makes the times in a repeated hour unambiguous.
 * @param {Intl.DateTimeFormat} format
 * @param {string} time
 */
function localTime(format, time) {
  const parts = Object.fromEntries(format.formatToParts(Date.parse(time)).map(({ type, value }) => [type, value]));
  const { year, month, day, hour, minute, second, timeZoneName = "" } = parts;
  return `${year}-${month}-${day} ${hour}:${minute}:${second}${timeZoneName.replace("GMT", "") || "+00:00"}`;
}

/**
 * Quote a value. A name is user input, and a spreadsheet must not evaluate it as a formula.
 * @param {string | number} value
 */
function cell(value) {
  if (typeof value === "number") return String(value);
  const harmless = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

/**
 * Save all charts of the page with their titles as one picture.
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
