// The list of organisations and their storehouses. Choosing is following a link, so that back and reload work.

import { make } from "./elements.js";
import { say } from "./words.js";

/** @import { Storehouse } from "./contract.js" */
/** @import { Place } from "./places.js" */

/**
 * @param {Element} list
 * @param {Place[] | null} places
 */
export function showPlaces(list, places) {
  if (places === null) list.replaceChildren(make("p", "quiet", say("loading")));
  else if (places.length === 0) list.replaceChildren(make("p", "quiet", say("noOrganisations")));
  else list.replaceChildren(...places.map(section));
}

/**
 * Mark the storehouse that is watched.
 * @param {Element} list
 * @param {string} address
 */
export function markPlace(list, address) {
  for (const link of list.querySelectorAll("a")) {
    if (link.hash === address) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** @param {Place} place */
function section({ organisation, storehouses }) {
  return make("section", "", make("h2", "", organisation.org_name), content(storehouses));
}

/** @param {Storehouse[] | null} storehouses */
function content(storehouses) {
  if (storehouses === null) return make("p", "quiet", say("loading"));
  if (storehouses.length === 0) return make("p", "quiet", say("noStorehouses"));
  return make("ul", "", ...storehouses.map((storehouse) => make("li", "", link(storehouse))));
}

/** @param {Storehouse} storehouse */
function link(storehouse) {
  const anchor = make("a", "", storehouse.store_house_name);
  anchor.href = `#${encodeURIComponent(String(storehouse.store_house_id))}`;
  return anchor;
}
