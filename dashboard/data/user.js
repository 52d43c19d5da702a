// Who is signed in, and what they may do.

import { computed, effect, signal } from "@preact/signals";
import { readStored, writeStored } from "../browser-storage.js";
import { languageTag } from "../words/translate.js";
import { ask, connection, ended, onPush } from "./socket.js";

/** @import { Role, Who } from "../contract.js" */

const ROLES = /** @type {Role[]} */ (["watch", "operate", "configure"]);
/** @type {Who} */
const ANYBODY = { name: "", role: "configure", expires: null };

/** Null until the server has answered. Without a name it is anybody, for access is open. */
export const user = signal(/** @type {Who | null} */ (null));

const enteredName = signal(readStored("localStorage", "person") ?? "");

/** Stands in an alarm's record: the user who is signed in, or else the name entered here. */
export const personName = computed(() => user.value?.name || enteredName.value);

/** @param {string} name */
export function setPersonName(name) {
  enteredName.value = name;
  writeStored("localStorage", "person", name);
}

/** @param {Role} role */
export function may(role) {
  return user.value !== null && ROLES.indexOf(user.value.role) >= ROLES.indexOf(role);
}

// Sent again when it changes.
onPush("whoami", (answer) => (user.value = answer ?? ANYBODY));

effect(() => {
  // A server that knows no users refuses.
  if (connection.value === "connected") ask("whoami", null).catch(() => (user.value = ANYBODY));
});

effect(() => {
  if (ended.value) goToLogin(ended.value);
});

export async function signOut() {
  await fetch("/logout", { method: "POST" });
  goToLogin();
}

/** The address keeps the view: after signing in again, the user is back there. @param {string} [why] */
function goToLogin(why = "") {
  const query = new URLSearchParams(location.search);
  query.set("why", why);
  query.set("lang", languageTag.peek().slice(0, 2));
  location.assign(`/login?${query}${location.hash}`);
}
