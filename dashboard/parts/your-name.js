// The name of who does something, where nobody has signed in.

import { html } from "htm/preact";
import { introduce, person, who } from "../data/who.js";
import { say } from "../words/say.js";

export function YourName() {
  if (who.value?.name) return null;
  return html`<label>
    ${say("yourName")}
    <input required maxlength="100" autocomplete="name" value=${person.value} onInput=${(/** @type {any} */ event) => introduce(event.currentTarget.value)} />
  </label>`;
}
