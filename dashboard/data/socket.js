// The one place that talks to the server.

import { computed, signal } from "@preact/signals";
import { io } from "socket.io-client";
import { recall, remember } from "../memory.js";

/** @import { Answer, Answers, Pushes, Refusal } from "../contract.js" */

const ANSWER_WITHIN = 10_000; // milliseconds
const ASK_AGAIN_AFTER = 2_000; // milliseconds
const PASSING = ["unavailable", "rate_limited"];
// What every server can answer while it has its database: a refusal of more than that may be too hard a question.
const TELLING = ["overview", "register"];
const ENDS = ["unauthorized", "expired", "revoked"];
const BEAT = 1_000; // milliseconds
const SLEPT = 5_000; // milliseconds; a beat so late means that the computer was asleep
// A network that dies tells nobody: after QUIET the server is asked whether it is there, and after DEAF it is not.
const QUIET = 900; // milliseconds
const DEAF = 1_000; // milliseconds

/** The server's no to a question. */
export class Refused extends Error {
  /** @param {Refusal} error */
  constructor(error) {
    super(error.message);
    this.code = error.code;
    this.field = error.field;
  }
}

/** @type {import("@preact/signals").Signal<"connecting" | "connected" | "lost">} */
const state = signal("connecting");
const databaseLost = signal(false);
const offline = signal(false);
const deaf = signal(false);
/** @type {import("@preact/signals").Signal<ReadonlySet<string>>} */
const unknownEvents = signal(new Set());

/** Whether we hear from the server: the network's own word comes long before a silent socket's. */
export const connection = computed(() => (offline.value && state.value === "connected" ? "lost" : state.value));

/** Whether nothing is heard through a connection that seems to be there. It may come back: nothing need be asked anew. */
export const silent = computed(() => connection.value === "connected" && deaf.value);

/** Why the server does not let us in (any more), where no waiting mends that. */
export const ended = signal("");

/** Whether, by its last answer, the server reached its database. */
export const available = computed(() => !databaseLost.value);

const socket = io({
  query: { tab: tabName() }, // lets a proxy bring all requests of this tab to the same server process
  // A websocket is a connection of its own: after sleep, a request may wait on one that is kept alive and long dead.
  rememberUpgrade: true,
  reconnectionDelay: 500,
  reconnectionDelayMax: 3_000,
});

socket.on("connect", () => {
  offline.value = false; // whatever the computer thinks of its network
  unknownEvents.value = new Set(); // it may be another server than before
  probed.clear();
  state.value = "connected";
});
socket.on("disconnect", (reason) => {
  state.value = "lost";
  // As with a refusal, the client does not try again by itself.
  if (reason === "io server disconnect") setTimeout(() => socket.connect(), ASK_AGAIN_AFTER);
});
socket.on("connect_error", (error) => {
  state.value = "lost";
  if (!socket.active) refuse(/** @type {any} */ (error).data);
});
socket.on("ended", refuse);
window.addEventListener("online", distrust);
window.addEventListener("offline", () => {
  offline.value = true;
  distrust();
});

socket.io.on("open", () => socket.io.engine.on("packet", hear));
document.addEventListener("visibilitychange", inquire);

/** @type {ReturnType<typeof setTimeout> | undefined} */
let patience;

function hear() {
  deaf.value = false;
  clearTimeout(patience);
  patience = setTimeout(inquire, QUIET);
}

/** A page that nobody sees need not know. */
function inquire() {
  clearTimeout(patience);
  if (!socket.connected || document.visibilityState === "hidden") return;
  socket.emit("alive");
  patience = setTimeout(() => (deaf.value = true), DEAF);
}

let beat = Date.now();
setInterval(() => {
  if (Date.now() - beat > SLEPT) distrust();
  beat = Date.now();
}, BEAT);

/** @param {Refusal | undefined} refusal */
function refuse(refusal) {
  if (refusal && ENDS.includes(refusal.code)) ended.value = refusal.code;
  else setTimeout(() => socket.connect(), ASK_AGAIN_AFTER);
}

/** After sleep a socket looks open long after the server has given it up: begin again, which shows the present at once. */
function distrust() {
  if (socket.connected) socket.disconnect();
  socket.connect();
}

function tabName() {
  const name = recall("sessionStorage", "tab") ?? randomName();
  remember("sessionStorage", "tab", name);
  return name;
}

// A UUID by hand: crypto.randomUUID is missing where a page comes over plain http, as on most sites' networks.
function randomName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (Number(bytes[6]) & 0x0f) | 0x40;
  bytes[8] = (Number(bytes[8]) & 0x3f) | 0x80;
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/**
 * @template {keyof Pushes} Event
 * @param {Event} event
 * @param {(payload: Pushes[Event]) => void} heard
 */
export function onPush(event, heard) {
  socket.on(/** @type {string} */ (event), heard);
}

/**
 * Whether the server may know this event: what it does not offer is not shown.
 * @param {keyof Answers} event
 */
export function offers(event) {
  return !unknownEvents.value.has(event);
}

/** @type {Set<keyof Answers>} */
const probed = new Set();

/**
 * Find out whether the server knows an event that changes something: an empty question changes nothing.
 * @param {keyof Answers} event
 */
export function probe(event) {
  if (!probed.has(event)) attempt(event, {});
  probed.add(event);
}

/**
 * Ask, and ask again while the server cannot answer just now. Throws Refused where asking again is of no use.
 * @template {keyof Answers} Event
 * @param {Event} event
 * @param {unknown} payload
 * @param {() => boolean} wanted whether anybody still waits for the answer
 * @returns {Promise<Answers[Event] | undefined>} undefined when it is no longer wanted
 */
export async function ask(event, payload, wanted = () => true) {
  while (wanted() && socket.connected) {
    const answer = await attempt(event, payload);
    if (!wanted()) return undefined;
    if (answer?.ok) return answer.data;
    if (answer && !PASSING.includes(answer.error.code)) throw new Refused(answer.error);
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_AFTER));
  }
  return undefined;
}

/**
 * Ask for something to be done: once, for doing it twice may not be the same. Throws Refused.
 * @template {keyof Answers} Event
 * @param {Event} event
 * @param {unknown} payload
 * @param {number} [within] milliseconds
 * @returns {Promise<Answers[Event]>}
 */
export async function request(event, payload, within) {
  const answer = await attempt(event, payload, within);
  if (answer === null) throw new Refused({ code: "unavailable", message: "no answer" });
  if (!answer.ok) throw new Refused(answer.error);
  return answer.data;
}

/**
 * @template {keyof Answers} Event
 * @param {Event} event
 * @param {unknown} payload
 * @param {number} [within] milliseconds
 * @returns {Promise<Answer<Answers[Event]> | null>} null when no answer came
 */
async function attempt(event, payload, within = ANSWER_WITHIN) {
  /** @type {Answer<Answers[Event]>} */
  let answer;
  try {
    answer = await socket.timeout(within).emitWithAck(event, payload);
  } catch {
    return null;
  }
  if (answer.ok) databaseLost.value = false;
  else if (TELLING.includes(event)) databaseLost.value = answer.error.code === "unavailable";
  if (!answer.ok && answer.error.code === "unknown_event") {
    unknownEvents.value = new Set([...unknownEvents.value, event]);
  }
  return answer;
}
