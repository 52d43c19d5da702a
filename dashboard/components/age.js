// The age of a reading, counting up by itself.

import { html } from "htm/preact";
import { now } from "../data/time.js";
import { translate } from "../words/translate.js";
import { age } from "../words/times.js";

/** @param {{time: string | null}} props */
export function Age({ time }) {
  const text = time === null ? translate("never") : age((now.value - Date.parse(time)) / 1000);
  return html`<span class="age">${text}</span>`;
}
