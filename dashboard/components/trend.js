// An arrow: whether a value rises or falls.

import { html } from "htm/preact";
import { trend } from "../data/recent-readings.js";
import { translate } from "../words/translate.js";

const ARROWS = { 1: "M8 13V3M4 7l4-4 4 4", 0: "M3 8h10M9 4l4 4-4 4", [-1]: "M8 3v10M4 9l4 4 4-4" };
const NAMES = /** @type {const} */ ({ 1: "rising", 0: "steady", [-1]: "falling" });

/** @param {{env: import("../contract.js").Env}} props */
export function Trend({ env }) {
  const direction = /** @type {1 | 0 | -1 | null} */ (trend(env));
  if (direction === null) return null;
  return html`<svg class="trend" viewBox="0 0 16 16" role="img" aria-label=${translate(NAMES[direction])}>
    <path d=${ARROWS[direction]} />
  </svg>`;
}
