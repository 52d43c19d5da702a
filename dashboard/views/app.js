// The whole page.

import { html } from "htm/preact";
import { useEffect } from "preact/hooks";
import { trouble } from "../data/trouble.js";
import { late } from "../parts/late.js";
import { isWall, route } from "../route.js";
import { languageTag, say } from "../words/say.js";
import { Header } from "./header.js";
import { Overview } from "./overview.js";
import { StorehousePage } from "./storehouse.js";

const Wall = late(async () => (await import("./wall.js")).Wall);

export function App() {
  const current = trouble.value === null || trouble.value === "connecting";
  useEffect(() => {
    document.documentElement.lang = languageTag.value;
  }, [languageTag.value]);
  useEffect(() => {
    document.body.classList.toggle("not-current", !current);
  }, [current]);
  if (isWall) return html`<${Banner} /><${Wall} />`;
  return html`
    <a class="skip" href="#main" onClick=${skip}>${say("skip")}</a>
    <${Header} />
    <${Banner} />
    <main id="main" tabindex="-1"><${Page} /></main>
  `;
}

function Page() {
  const { page } = route.value;
  if (page === "overview") return html`<${Overview} />`;
  if (page === "storehouse") return html`<${StorehousePage} />`;
  return html`<p class="notice">${say("nowhere")} <a href="#/">${say("toOverview")}</a></p>`;
}

/** Whether what is seen is current. It covers the page, for nobody must take the old for the new. */
export function Banner() {
  const why = trouble.value;
  return html`<div id="banner" role="alert" data-trouble=${why ?? "none"}>
    ${why && html`<p><strong>${say(`trouble_${why}`)}</strong> ${say(`trouble_${why}_advice`)}</p>`}
  </div>`;
}

/** The address names the page: it must stay as it is. @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}
