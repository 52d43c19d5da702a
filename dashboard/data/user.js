// The user and their role.

import { computed, effect, signal } from "@preact/signals";
import { readStored, writeStored } from "../browser-storage.js";
import { languageTag } from "../words/translate.js";
import { ask, connection, ended, onPush } from "./socket.js";

/** @import { Role, Who } from "../contract.js" */

const ROLES = /** @type {Role[]} */ (["watch", "operate", "configure"]);
/** @type {Who} */
const ANYBODY = { name: "", role: "configure", expires: null };

/** The user; null until the server has answered. With open access, the user's name is empty. */
export const user = signal(/** @type {Who | null} */ (null));

const enteredName = signal(readStored("localStorage", "person") ?? "");

/** The name that is stored with a user's actions: the name of the logged-in user, or the name entered on the page. */
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

// The server sends `whoami` when the user's role or visibility changes.
onPush("whoami", (answer) => (user.value = answer ?? ANYBODY));

effect(() => {
  // A server without users refuses the question.
  if (connection.value === "connected") ask("whoami", null).catch(() => (user.value = ANYBODY));
});

effect(() => {
  if (ended.value) goToLogin(ended.value);
});

export async function signOut() {
  await fetch("/logout", { method: "POST" });
  goToLogin();
}

/** Go to the login page. Its address contains the view to which the user will return. @param {string} [why] */
function goToLogin(why = "") {
  const query = new URLSearchParams(location.search);
  query.set("why", why);
  query.set("lang", languageTag.peek().slice(0, 2));
  location.assign(`/login?${query}${location.hash}`);
}
