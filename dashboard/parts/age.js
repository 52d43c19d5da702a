// How old something is, growing by itself.

import { html } from "htm/preact";
import { now } from "../data/time.js";
import { say } from "../words/say.js";
import { age } from "../words/times.js";

/** @param {{time: string | null}} props */
export function Age({ time }) {
  const text = time === null ? say("never") : age((now.value - Date.parse(time)) / 1000);
  return html`<span class="age">${text}</span>`;
}
