// A curve without axes. Where there is nothing, it has a gap.

import { html } from "htm/preact";

const WIDTH = 100;
const HEIGHT = 24;
const EDGE = 2; // room for half the line's width

/**
 * @param {{points: ([x: number, y: number] | null)[]}} props `x` from 0 to 1
 */
export function Sparkline({ points }) {
  const values = points.flatMap((point) => (point ? [point[1]] : []));
  if (values.length < 2) return html`<svg class="spark" aria-hidden="true"></svg>`;
  const [lowest, highest] = [Math.min(...values), Math.max(...values)];
  const scale = highest > lowest ? (HEIGHT - 2 * EDGE) / (highest - lowest) : 0;
  const y = (/** @type {number} */ value) => (scale ? HEIGHT - EDGE - (value - lowest) * scale : HEIGHT / 2);
  let d = "";
  let pen = "M";
  for (const point of points) {
    if (point) d += `${pen}${(point[0] * WIDTH).toFixed(1)} ${y(point[1]).toFixed(1)}`;
    pen = point ? "L" : "M";
  }
  return html`<svg class="spark" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true">
    <path d=${d} />
  </svg>`;
}
