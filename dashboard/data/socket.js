// The one place that talks to the server.

import { computed, signal } from "@preact/signals";
import { io } from "socket.io-client";
import { readStored, writeStored } from "../browser-storage.js";

/** @import { Acknowledgement, Ended, Events, Pushes, Refusal } from "../contract.js" */

const ANSWER_WITHIN = 10_000; // milliseconds
const ASK_AGAIN_AFTER = 2_000; // milliseconds
const TRANSIENT_CODES = ["unavailable", "rate_limited"];
// Questions that every server answers while it has its database. Another question may be refused for its size.
const DATABASE_QUESTIONS = ["overview", "register"];
const FINAL_CODES = ["unauthorized", "expired", "revoked"];
const TICK = 1_000; // milliseconds
const SLEEP = 5_000; // milliseconds; a tick so late means that the computer was asleep
// A dead network closes no socket: after IDLE the server is asked whether it is there, and after ALIVE_WITHIN it is not.
const IDLE = 900; // milliseconds
const ALIVE_WITHIN = 1_000; // milliseconds

/** The server refused a question. */
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
const aliveMissing = signal(false);
/** @type {import("@preact/signals").Signal<ReadonlySet<string>>} */
const unknownEvents = signal(new Set());

/** The computer notices a lost network long before the socket does. */
export const connection = computed(() => (offline.value && state.value === "connected" ? "lost" : state.value));

/** Whether nothing arrives through an open connection. It may come back: nothing is asked again. */
export const unresponsive = computed(() => connection.value === "connected" && aliveMissing.value);

/** The code with which the server ended the connection for good; empty while it has not. */
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
  probedEvents.clear();
  state.value = "connected";
});
socket.on("disconnect", (reason) => {
  state.value = "lost";
  // As with a refusal, the client does not try again by itself.
  if (reason === "io server disconnect") setTimeout(() => socket.connect(), ASK_AGAIN_AFTER);
});
socket.on("connect_error", (error) => {
  state.value = "lost";
  if (!socket.active) onConnectionError(/** @type {any} */ (error).data);
});
socket.on("ended", onConnectionError);
window.addEventListener("online", reconnect);
window.addEventListener("offline", () => {
  offline.value = true;
  reconnect();
});

socket.io.on("open", () => socket.io.engine.on("packet", onPacket));
document.addEventListener("visibilitychange", checkAlive);

/** @type {ReturnType<typeof setTimeout> | undefined} */
let aliveTimer;

function onPacket() {
  aliveMissing.value = false;
  clearTimeout(aliveTimer);
  aliveTimer = setTimeout(checkAlive, IDLE);
}

/** A hidden page does not ask. */
function checkAlive() {
  clearTimeout(aliveTimer);
  if (!socket.connected || document.visibilityState === "hidden") return;
  socket.emit("alive");
  aliveTimer = setTimeout(() => (aliveMissing.value = true), ALIVE_WITHIN);
}

let lastTick = Date.now();
setInterval(() => {
  if (Date.now() - lastTick > SLEEP) reconnect();
  lastTick = Date.now();
}, TICK);

/** @param {Refusal | Ended | undefined} error */
function onConnectionError(error) {
  if (error && FINAL_CODES.includes(error.code)) ended.value = error.code;
  else setTimeout(() => socket.connect(), ASK_AGAIN_AFTER);
}

/** After sleep a socket looks open long after the server has closed it: a new one shows current data at once. */
function reconnect() {
  if (socket.connected) socket.disconnect();
  socket.connect();
}

function tabName() {
  const name = readStored("sessionStorage", "tab") ?? randomName();
  writeStored("sessionStorage", "tab", name);
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
 * @template {keyof Pushes & string} Push
 * @param {Push} event
 * @param {(payload: Pushes[Push]) => void} listener
 */
export function onPush(event, listener) {
  socket.on(/** @type {string} */ (event), listener);
}

/**
 * Whether the server may know this event: what it does not offer is not shown.
 * @param {keyof Events} event
 */
export function offers(event) {
  return !unknownEvents.value.has(event);
}

/** @type {Set<keyof Events>} */
const probedEvents = new Set();

/**
 * Find out whether the server knows an event that changes something: an empty question changes nothing.
 * @param {keyof Events} event
 */
export function probe(event) {
  if (!probedEvents.has(event)) attempt(event, /** @type {any} */ ({}));
  probedEvents.add(event);
}

/**
 * Ask, and ask again while the server cannot answer for now. Throws Refused where asking again is of no use.
 * @template {keyof Events} Name
 * @param {Name} event
 * @param {Events[Name]["question"]} question
 * @param {() => boolean} wanted whether anybody still waits for the answer
 * @returns {Promise<Events[Name]["answer"] | undefined>} undefined when it is no longer wanted
 */
export async function ask(event, question, wanted = () => true) {
  while (wanted() && socket.connected) {
    const answer = await attempt(event, question);
    if (!wanted()) return undefined;
    if (answer?.ok) return answer.data;
    if (answer && !TRANSIENT_CODES.includes(answer.error.code)) throw new Refused(answer.error);
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_AFTER));
  }
  return undefined;
}

/**
 * Ask for something to be done: once, for doing it twice may not be the same. Throws Refused.
 * @template {keyof Events} Name
 * @param {Name} event
 * @param {Events[Name]["question"]} question
 * @param {number} [within] milliseconds
 * @returns {Promise<Events[Name]["answer"]>}
 */
export async function request(event, question, within) {
  const answer = await attempt(event, question, within);
  if (answer === null) throw new Refused({ code: "unavailable", message: "no answer" });
  if (!answer.ok) throw new Refused(answer.error);
  return answer.data;
}

/**
 * @template {keyof Events} Name
 * @param {Name} event
 * @param {Events[Name]["question"]} question
 * @param {number} [within] milliseconds
 * @returns {Promise<Acknowledgement<Events[Name]["answer"]> | null>} null when no answer came
 */
async function attempt(event, question, within = ANSWER_WITHIN) {
  /** @type {Acknowledgement<Events[Name]["answer"]>} */
  let answer;
  try {
    answer = await socket.timeout(within).emitWithAck(event, question);
  } catch {
    return null;
  }
  if (answer.ok) databaseLost.value = false;
  else if (DATABASE_QUESTIONS.includes(event)) databaseLost.value = answer.error.code === "unavailable";
  if (!answer.ok && answer.error.code === "unknown_event") {
    unknownEvents.value = new Set([...unknownEvents.value, event]);
  }
  return answer;
}
