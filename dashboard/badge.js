// The title and the icon of the tab: they tell what is open while nobody looks at the page.

import { effect } from "@preact/signals";
import { openAlarms } from "./data/places.js";
import { trouble } from "./data/trouble.js";
import { activeAlarms, watchedPlace } from "./data/watch.js";
import { say } from "./words/say.js";

export function showBadge() {
  const icon = /** @type {HTMLLinkElement} */ (document.getElementById("icon"));
  effect(() => {
    // The storehouse that is watched may tell sooner than the overview.
    const count = Math.max(openAlarms.value.open, activeAlarms.value.length);
    const name = watchedPlace.value?.storehouse.store_house_name;
    const title = name ? `${name} · Storewatch` : "Storewatch";
    const lost = trouble.value !== null && trouble.value !== "connecting";
    document.title = lost ? `${say("notCurrent")} · ${title}` : count > 0 ? `(${count}) ${title}` : title;
    const worst = openAlarms.value.worst ?? activeAlarms.value[0]?.severity;
    icon.href = `/static/icons/${lost ? "lost" : (worst ?? "good")}.svg`;
  });
}
