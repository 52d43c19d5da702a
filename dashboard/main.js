// Starts the page.

import { effect } from "@preact/signals";
import { html, render } from "htm/preact";
import { showBadge } from "./badge.js";
import { watchStorehouse } from "./data/watched-storehouse.js";
import { isWall, route } from "./route.js";
import { soundForAlarms } from "./sound.js";
import { App } from "./views/app.js";

effect(() => {
  if (!isWall) watchStorehouse(route.value.page === "storehouse" ? route.value.storehouse : null);
});
showBadge();
soundForAlarms();
render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
