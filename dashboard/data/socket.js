// The connection to the server, which all other modules use.

import { computed, signal } from "@preact/signals";
import { io } from "socket.io-client";
import { readStored, writeStored } from "../browser-storage.js";

/** @import { Acknowledgement, Ended, Events, Pushes, Refusal } from "../contract.js" */

const ANSWER_WITHIN = 10_000; // milliseconds
export const LONG_WITHIN = 240_000; // milliseconds; a long question may wait in the server's queue
const ASK_AGAIN_AFTER = 2_000; // milliseconds
// Questions that the server always answers while its database works. Other questions may be refused because the answer
// is too large.
const DATABASE_QUESTIONS = ["overview", "register"];
const FINAL_CODES = ["unauthorized", "expired", "revoked"];
const TICK = 1_000; // milliseconds
const SLEEP = 5_000; // milliseconds; a tick this late means that the computer was asleep
// A broken network does not close the socket. After IDLE without a packet, the page sends `alive`. If nothing arrives
// within ALIVE_WITHIN, the connection counts as lost.
const IDLE = 900; // milliseconds
const ALIVE_WITHIN = 1_000; // milliseconds

/**
 * Return whether asking again may help. A query with too many rows, or a slow one, would fail again.
 * @param {Refusal} error
 */
function isTransient({ code, params }) {
  return /unavailable|rate_limited/.test(code) && !/too_many_rows|query_too_slow/.test(`${params?.reason}`);
}

/** The error that the server has refused an event or has not answered it. */
export class Refused extends Error {
  /** @param {Refusal} error */
  constructor(error) {
    super(error.message);
    this.code = error.code;
    this.field = error.field;
    this.params = error.params;
  }
}

/** @type {import("@preact/signals").Signal<"connecting" | "connected" | "lost">} */
const state = signal("connecting");
const databaseLost = signal(false);
const offline = signal(false);
const aliveMissing = signal(false);
/** @type {import("@preact/signals").Signal<ReadonlySet<string>>} */
const unknownEvents = signal(new Set());

/** The state of the connection. The computer notices that the network is lost long before the socket does. */
export const connection = computed(() => (offline.value && state.value === "connected" ? "lost" : state.value));

/** Whether the connection is open but nothing arrives. It may recover, so the page does not repeat its questions. */
export const unresponsive = computed(() => connection.value === "connected" && aliveMissing.value);

/** The code with which the server ended the connection permanently. It is empty otherwise. */
export const ended = signal("");

/** Whether the server could reach its database when it sent its last answer. */
export const available = computed(() => !databaseLost.value);

const socket = io({
  query: { tab: tabName() }, // a proxy sends all requests of this tab to the same server process
  // Start with a websocket, which is a new connection. After sleep, a request may wait on a dead keep-alive connection.
  rememberUpgrade: true,
  reconnectionDelay: 500,
  reconnectionDelayMax: 3_000,
});

socket.on("connect", () => {
  offline.value = false; // even if the computer still reports no network
  unknownEvents.value = new Set(); // it may be a newer server
  probedEvents.clear();
  state.value = "connected";
});
socket.on("disconnect", (reason) => {
  state.value = "lost";
  // In this case, and after a refused connection, the Socket.IO client does not reconnect by itself.
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

/** Ask the server for a sign of life. A hidden page does not ask. */
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

/** Connect again. After sleep, the old socket may look open although the server has closed it. */
function reconnect() {
  if (socket.connected) socket.disconnect();
  socket.connect();
}

function tabName() {
  const name = readStored("sessionStorage", "tab") ?? randomName();
  writeStored("sessionStorage", "tab", name);
  return name;
}

// crypto.randomUUID is missing on pages served over plain http, as in most sites' networks.
function randomName() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
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
 * Return whether the server may know this event. The page hides functions that the server does not offer.
 * @param {keyof Events} event
 */
export function offers(event) {
  return !unknownEvents.value.has(event);
}

/** @type {Set<keyof Events>} */
const probedEvents = new Set();

/**
 * Find out whether the server knows an event: send the event with an empty payload, which changes nothing.
 * @param {keyof Events} event
 */
export function probe(event) {
  if (!probedEvents.has(event)) attempt(event, /** @type {any} */ ({}));
  probedEvents.add(event);
}

/**
 * Ask the server, and ask again while it is temporarily unavailable. Throw `Refused` for any other refusal.
 * @template {keyof Events} Name
 * @param {Name} event
 * @param {Events[Name]["question"]} question
 * @param {() => boolean} wanted whether the answer is still wanted
 * @returns {Promise<Events[Name]["answer"] | undefined>} undefined if the answer is no longer wanted
 */
export async function ask(event, question, wanted = () => true) {
  while (wanted() && socket.connected) {
    const answer = await attempt(event, question);
    if (!wanted()) return undefined;
    if (answer?.ok) return answer.data;
    if (answer && !isTransient(answer.error)) throw new Refused(answer.error);
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_AFTER));
  }
  return undefined;
}

/**
 * Send an event that changes something. Send it only once, because a repetition might change something else. Throw
 * `Refused` if the server refuses.
 * @template {keyof Events} Name
 * @param {Name} event
 * @param {Events[Name]["question"]} question
 * @param {number} [within] milliseconds
 * @returns {Promise<Events[Name]["answer"]>}
 */
export async function request(event, question, within) {
  const answer = await attempt(event, question, within);
  if (answer === null) throw new Refused({ code: "no_answer", message: "no answer" });
  if (!answer.ok) throw new Refused(answer.error);
  return answer.data;
}

/**
 * @template {keyof Events} Name
 * @param {Name} event
 * @param {Events[Name]["question"]} question
 * @param {number} [within] milliseconds
 * @returns {Promise<Acknowledgement<Events[Name]["answer"]> | null>} null if no answer arrives
 */
async function attempt(event, question, within = event === "queryEnvs" ? LONG_WITHIN : ANSWER_WITHIN) {
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
