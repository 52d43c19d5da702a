// Starts the page.

import { effect } from "@preact/signals";
import { html, render } from "htm/preact";
import { showBadge } from "./badge.js";
import { follow } from "./data/watch.js";
import { isWall, route } from "./route.js";
import { ringForAlarms } from "./sound.js";
import { App } from "./views/app.js";

effect(() => {
  if (!isWall) follow(route.value.page === "storehouse" ? route.value.storehouse : null);
});
showBadge();
ringForAlarms();
render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
