// The header of every page: the link to the overview, the open alarms, the user, the sound and the language.

import { html } from "htm/preact";
import { knownSeverity } from "../data/severity.js";
import { openAlarms } from "../data/storehouses.js";
import { signOut, user } from "../data/user.js";
import { soundOn, switchSound } from "../sound.js";
import { StateMark } from "../components/state-mark.js";
import { otherTag, translate, switchLanguage } from "../words/translate.js";

export function Header() {
  const { open, worst } = openAlarms.value;
  return html`<header class="frame">
    <a class="brand" href="#/"><img src="/static/icons/brand.svg" alt="" width="22" height="22" /> Storewatch</a>
    ${open > 0 && worst && html`<${StateMark} state=${knownSeverity(worst)} word=${translate("openAlarms", { count: open })} />`}
    <span class="space"></span>
    <${Person} />
    <button
      type="button"
      id="sound"
      class="quiet"
      aria-pressed=${soundOn.value}
      title=${translate(soundOn.value ? "soundIsOn" : "soundIsOff")}
      onClick=${switchSound}
    >
      <${Speaker} on=${soundOn.value} />
      <span class="wide">${translate("sound")}</span>
    </button>
    <button type="button" id="language" class="quiet" lang=${otherTag.value} onClick=${switchLanguage}>
      ${translate("otherLanguage")}
    </button>
  </header>`;
}

function Person() {
  if (!user.value) return null;
  const { name, role } = user.value;
  if (!name) return html`<span class="quiet open-to-all" id="person">${translate("openAccess")}</span>`;
  return html`<span class="quiet wide" id="person"><bdi>${name}</bdi> · ${translate(`role_${role}`)}</span>
    <button type="button" id="sign-out" class="quiet" onClick=${signOut}>${translate("signOut")}</button>`;
}

/** @param {{on: boolean}} props */
function Speaker({ on }) {
  const waves = on ? "M11 5.2a4 4 0 0 1 0 5.6M12.8 3.2a6.8 6.8 0 0 1 0 9.6" : "M11 6l4 4M15 6l-4 4";
  return html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
    <path d="M1.5 6H4l4-3.2v10.4L4 10H1.5Z" fill="currentColor" />
    <path d=${waves} fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" />
  </svg>`;
}
