// The title and the icon of the browser tab. They show open alarms while the page is in the background.

import { effect } from "@preact/signals";
import { openAlarms } from "./data/storehouses.js";
import { notCurrent } from "./data/outage.js";
import { knownSeverity } from "./data/severity.js";
import { activeAlarms, watchedStorehouse } from "./data/watched-storehouse.js";
import { displayName, translate } from "./words/translate.js";

export function showBadge() {
  const icon = /** @type {HTMLLinkElement} */ (document.getElementById("icon"));
  effect(() => {
    // The watched storehouse may have an alarm that the overview does not have yet.
    const count = Math.max(openAlarms.value.open, activeAlarms.value.length);
    const name = watchedStorehouse.value?.storehouse.store_house_name;
    const title = name ? `${displayName(name)} · Storewatch` : "Storewatch";
    const lost = notCurrent.value;
    document.title = lost ? `${translate("notCurrent")} · ${title}` : count > 0 ? `(${count}) ${title}` : title;
    const worst = openAlarms.value.worst ?? activeAlarms.value[0]?.severity;
    icon.href = `/static/icons/${lost ? "lost" : worst ? knownSeverity(worst) : "good"}.svg`;
  });
}
