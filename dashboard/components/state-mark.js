// Shows a state as a shape, a colour and a word. Each of the three alone identifies the state.

import { html } from "htm/preact";
import { knownSeverity } from "../data/severity.js";
import { translateCode } from "../words/translate.js";

/** @typedef {import("../types.js").SensorState | import("../contract.js").StorehouseState | "pending" | "cleared"} AnyState */

/** SVG paths in a box of 16 by 16. */
const SHAPES = /** @type {Record<string, string>} */ ({
  critical: "M8 1 15 8 8 15 1 8Z M7.2 4.6h1.6v4.3H7.2Z M7.2 10h1.6v1.6H7.2Z",
  warning: "M8 1.5 15.5 14.5H.5Z M7.2 6h1.6v4.2H7.2Z M7.2 11.2h1.6v1.6H7.2Z",
  info: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1Z M7.2 4.2h1.6v1.6H7.2Z M7.2 7h1.6v4.8H7.2Z",
  stale: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1Z M7.2 4v4.6l3.4 2 .8-1.3-2.6-1.6V4Z",
  bad: "M3.2 1.8 8 6.6l4.8-4.8 1.4 1.4L9.4 8l4.8 4.8-1.4 1.4L8 9.4l-4.8 4.8-1.4-1.4L6.6 8 1.8 3.2Z",
  good: "M2.6 7.6 6.3 11.3 13.4 4.2 14.8 5.6 6.3 14.1 1.2 9Z",
  empty: "M3 7h10v2H3Z",
  pending: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1Z M8 3a5 5 0 1 0 0 10A5 5 0 0 0 8 3Z",
  cleared: "M2.6 7.6 6.3 11.3 13.4 4.2 14.8 5.6 6.3 14.1 1.2 9Z",
});

/** @param {{state: AnyState}} props */
export function Glyph({ state }) {
  return html`<svg class="glyph" data-state=${state} viewBox="0 0 16 16" aria-hidden="true">
    <path d=${SHAPES[state] ?? SHAPES.empty} fill-rule="evenodd" />
  </svg>`;
}

/** @param {{state: AnyState, word?: string}} props */
export function StateMark({ state, word }) {
  return html`<span class="state" data-state=${state}><${Glyph} state=${state} /> ${word ?? translateCode("state", state)}</span>`;
}

/** Shows an alarm's severity. The words of a site's own system are not translated. @param {{severity: string}} props */
export function SeverityMark({ severity }) {
  return html`<${StateMark} state=${knownSeverity(severity)} word=${translateCode("state", severity)} />`;
}
