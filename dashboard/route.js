// The view that the address names. Every view has an address, so that back, reload and bookmarks work.

import { computed, signal } from "@preact/signals";

/** @import { Id } from "./contract.js" */

/** @typedef {"tiles" | "plan" | "table" | "charts" | "alarms" | "rules"} Tab */

/**
 * `#/` is the overview, `#/storehouse/ID/TAB` one storehouse, `#/storehouse/ID/alarms/ALARM` one alarm.
 * @typedef {object} Route
 * @property {"overview" | "storehouse" | "unknown"} page
 * @property {string} storehouse the storehouse's id, which is a string in an address
 * @property {Tab} tab
 * @property {string} alarm
 * @property {URLSearchParams} options
 */

export const TABS = /** @type {const} */ (["tiles", "plan", "table", "charts", "alarms", "rules"]);

const hash = signal(window.location.hash);
window.addEventListener("hashchange", () => (hash.value = window.location.hash));

/** Whether the page is the wall, which shows one storehouse after the other, without controls. */
export const isWall = new URLSearchParams(window.location.search).has("wall");

export const route = computed(() => parseRoute(hash.value));

/**
 * @param {string} address
 * @returns {Route}
 */
function parseRoute(address) {
  const [path = "", query = ""] = address.replace(/^#\/?/, "").split("?");
  const [page, storehouse = "", tab = "tiles", alarm = ""] = path.split("/").map(decodePart);
  const knownTab = TABS.find((name) => name === tab);
  const options = new URLSearchParams(query);
  const nothing = { storehouse: "", tab: /** @type {Tab} */ ("tiles"), alarm: "", options };
  if (page === "") return { page: "overview", ...nothing };
  if (page === "storehouse" && knownTab) return { page, storehouse, tab: knownTab, alarm, options };
  return { page: "unknown", ...nothing };
}

/**
 * @param {Id} id
 * @param {Tab} [tab]
 */
export function toStorehouse(id, tab = "tiles") {
  const path = `#/storehouse/${encodeURIComponent(id)}`;
  return tab === "tiles" ? path : `${path}/${tab}`;
}

/**
 * Return the address of an alarm. The address contains the time of the alarm, so that the page also finds an old alarm.
 * @param {{store_house_id: Id, alarm_id: Id, raised: string}} alarm
 */
export function toAlarm({ store_house_id, alarm_id, raised }) {
  return `${toStorehouse(store_house_id, "alarms")}/${encodeURIComponent(alarm_id)}?raised=${raised}`;
}

/**
 * Set options of the view in the address, without adding an entry to the browser's history.
 * @param {Record<string, string | null>} options null removes an option
 */
export function setOptions(options) {
  const [path = "", query = ""] = window.location.hash.split("?");
  const all = new URLSearchParams(query);
  for (const [name, value] of Object.entries(options)) {
    if (value === null) all.delete(name);
    else all.set(name, value);
  }
  const text = all.toString();
  const address = text ? `${path}?${text}` : path;
  if (address === window.location.hash) return;
  window.history.replaceState(null, "", address);
  hash.value = address;
}

/** @param {string} part */
function decodePart(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a percent sign that is not part of an encoding
  }
}
