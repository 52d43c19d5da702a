// The whole page.

import { html } from "htm/preact";
import { useEffect } from "preact/hooks";
import { notCurrent, outage } from "../data/outage.js";
import { lazy } from "../components/lazy.js";
import { isWall, route } from "../route.js";
import { languageTag, translate } from "../words/translate.js";
import { Header } from "./header.js";
import { Overview } from "./overview.js";
import { StorehousePage } from "./storehouse.js";

const Wall = lazy(async () => (await import("./wall.js")).Wall);

export function App() {
  useEffect(() => {
    document.documentElement.lang = languageTag.value;
  }, [languageTag.value]);
  useEffect(() => {
    document.body.classList.toggle("not-current", notCurrent.value);
  }, [notCurrent.value]);
  if (isWall) return html`<${Banner} /><${Wall} />`;
  return html`
    <a class="skip" href="#main" onClick=${skip}>${translate("skip")}</a>
    <${Header} />
    <${Banner} />
    <main id="main" tabindex="-1"><${Page} /></main>
  `;
}

function Page() {
  const { page } = route.value;
  if (page === "overview") return html`<${Overview} />`;
  if (page === "storehouse") return html`<${StorehousePage} />`;
  return html`<p class="notice">${translate("unknownPage")} <a href="#/">${translate("toOverview")}</a></p>`;
}

/** Shows what does not work. The banner stays in view, so that nobody mistakes old data for current data. */
export function Banner() {
  const why = outage.value;
  return html`<div id="banner" role="alert" data-outage=${why ?? "none"}>
    ${why && html`<p><strong>${translate(`outage_${why}`)}</strong> ${translate(`outage_${why}_advice`)}</p>`}
  </div>`;
}

/** Skip to the content. Do not change the address, because it names the view. @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}
