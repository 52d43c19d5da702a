// Who is signed in, and what they may do.

import { computed, effect, signal } from "@preact/signals";
import { recall, remember } from "../memory.js";
import { languageTag } from "../words/say.js";
import { ask, connection, ended, onPush } from "./socket.js";

/** @import { Role, Who } from "../contract.js" */

const ROLES = /** @type {Role[]} */ (["watch", "operate", "configure"]);
/** @type {Who} */
const ANYBODY = { name: "", role: "configure", expires: null };

/** Null while we do not know. Without a name it is anybody, for access is open. */
export const who = signal(/** @type {Who | null} */ (null));

const given = signal(recall("localStorage", "person") ?? "");

/** Who does something stands in the alarm's record: who is signed in, or else the name a person has given here. */
export const person = computed(() => who.value?.name || given.value);

/** @param {string} name */
export function introduce(name) {
  given.value = name;
  remember("localStorage", "person", name);
}

/** @param {Role} role */
export function may(role) {
  return who.value !== null && ROLES.indexOf(who.value.role) >= ROLES.indexOf(role);
}

// Told too when it changes.
onPush("whoami", (told) => (who.value = told ?? ANYBODY));

effect(() => {
  if (connection.value === "connected") ask("whoami", null).catch(() => (who.value = ANYBODY)); // one that knows nobody
});

effect(() => {
  if (ended.value) leave(ended.value);
});

export async function signOut() {
  await fetch("/logout", { method: "POST" });
  leave();
}

/** The address says what was looked at: who signs in again is there again. @param {string} [why] */
function leave(why = "") {
  const query = new URLSearchParams(location.search);
  query.set("why", why);
  query.set("lang", languageTag.peek().slice(0, 2));
  location.assign(`/login?${query}${location.hash}`);
}
