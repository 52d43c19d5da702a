// A field for the name of the person, where nobody has signed in.

import { html } from "htm/preact";
import { setPersonName, personName, user } from "../data/user.js";
import { translate } from "../words/translate.js";

export function NameField() {
  if (user.value?.name) return null;
  return html`<label>
    ${translate("yourName")}
    <input required maxlength="100" autocomplete="name" value=${personName.value} onInput=${(/** @type {any} */ event) => setPersonName(event.currentTarget.value)} />
  </label>`;
}
