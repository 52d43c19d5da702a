// The one place that talks to the server.

import { io } from "socket.io-client";
import { recall, remember } from "./memory.js";

/** @import { Answer, Answers, Pushes, Refusal } from "./contract.js" */

const ANSWER_WITHIN = 10_000; // milliseconds
const ASK_AGAIN_AFTER = 2_000; // milliseconds
const PASSING = ["unavailable", "rate_limited"];

/** The server's no to a question. */
export class Refused extends Error {
  /** @param {Refusal} error */
  constructor(error) {
    super(error.message);
    this.code = error.code;
  }
}

// The name of this tab lets a proxy bring all its requests to the same server process.
const socket = io({ query: { tab: tabName() } });

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
 * @param {(connected: boolean) => void} heard
 */
export function onConnection(heard) {
  socket.on("connect", () => heard(true));
  socket.on("disconnect", (reason) => {
    heard(false);
    // The one case in which the client does not try again by itself.
    if (reason === "io server disconnect") setTimeout(() => socket.connect(), ASK_AGAIN_AFTER);
  });
}

/**
 * @template {keyof Pushes} Event
 * @param {Event} event
 * @param {(payload: Pushes[Event]) => void} heard
 */
export function onPush(event, heard) {
  socket.on(/** @type {string} */ (event), heard);
}

/** @type {(available: boolean) => void} */
let heardAvailability = () => {};

/**
 * Hear with every answer whether the server reaches its database.
 * @param {(available: boolean) => void} heard
 */
export function onAvailability(heard) {
  heardAvailability = heard;
}

/**
 * Ask, and ask again while the server cannot answer just now. Throws Refused where asking again is of no use.
 * @template {keyof Answers} Event
 * @param {Event} event
 * @param {unknown} payload
 * @param {() => boolean} wanted whether anybody still waits for the answer
 * @returns {Promise<Answers[Event] | undefined>} undefined when it is no longer wanted
 */
export async function ask(event, payload, wanted) {
  while (wanted() && socket.connected) {
    const answer = await attempt(event, payload);
    if (!wanted()) return undefined;
    if (answer) heardAvailability(answer.ok || answer.error.code !== "unavailable");
    if (answer?.ok) return answer.data;
    if (answer && !PASSING.includes(answer.error.code)) throw new Refused(answer.error);
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_AFTER));
  }
  return undefined;
}

/**
 * @template {keyof Answers} Event
 * @param {Event} event
 * @param {unknown} payload
 * @returns {Promise<Answer<Answers[Event]> | null>} null when no answer came
 */
async function attempt(event, payload) {
  try {
    return await socket.timeout(ANSWER_WITHIN).emitWithAck(event, payload);
  } catch {
    return null;
  }
}
