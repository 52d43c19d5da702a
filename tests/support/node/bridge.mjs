// A bridge through which tests/support/clients.py drives a socket.io-client. It reads commands from stdin and writes
// events to stdout, one JSON object a line. Binary arguments are {"$binary": "<base64>"}. At the end of stdin it
// disconnects and exits.

import { createRequire } from "node:module";

/** @typedef {typeof import("socket.io-client")} Library */
/** @typedef {{version: 3 | 4, url: string, options: object}} Connect */

const require = createRequire(new URL("../../../dashboard/package.json", import.meta.url));
const PACKAGES = { 3: "socket.io-client-3", 4: "socket.io-client" };

const GOODBYE = 500; // milliseconds to wait for the last packets

/** @type {import("socket.io-client").Socket} */
let socket;

/** @type {Record<string, (command: any) => void>} */
const COMMANDS = {
  connect: open,
  emit: ({ event, args }) => void socket.emit(event, ...args),
  call: ({ event, args, id }) => {
    socket.emit(event, ...args, (/** @type {unknown[]} */ ...answer) => report({ type: "ack", id, args: answer }));
  },
  raw: ({ text }) => void engine().write(text),
};

/** @param {Connect} command */
function open({ version, url, options }) {
  /** @type {Library} */
  const library = require(PACKAGES[version]);
  socket = library.io(url, { ...options, forceNew: true });
  socket.onAny((name, ...args) => report({ type: "event", name, args }));
  socket.on("connect", () => {
    report({ type: "connected", transport: engine().transport.name });
    engine().once("upgrade", (/** @type {{name: string}} */ { name }) => report({ type: "upgraded", transport: name }));
  });
  socket.on("disconnect", (reason) => report({ type: "disconnected", reason }));
  socket.on("connect_error", (/** @type {any} */ error) => {
    report({ type: "connect_error", message: error.message, data: error.data });
  });
}

function engine() {
  return socket.io.engine;
}

// Writes to a pipe on stdout are synchronous, so all reports of one turn of the event loop go out in one write.
/** @type {string[]} */
let unsent = [];

/** @param {object} message */
function report(message) {
  if (unsent.length === 0) setImmediate(flush);
  unsent.push(JSON.stringify(message, wrapBinary));
}

function flush() {
  const lines = unsent.join("\n");
  unsent = [];
  process.stdout.write(`${lines}\n`);
}

/**
 * @this {any}
 * @param {string} key
 * @param {unknown} value
 */
function wrapBinary(key, value) {
  const original = this[key]; // `value` is not a Buffer any more: toJSON has converted it
  return Buffer.isBuffer(original) ? { $binary: original.toString("base64") } : value;
}

/**
 * @param {string} _
 * @param {any} value
 */
function unwrapBinary(_, value) {
  return typeof value?.$binary === "string" ? Buffer.from(value.$binary, "base64") : value;
}

let rest = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (chunk) => {
  const lines = (rest + chunk).split("\n");
  rest = lines.pop() ?? "";
  for (const line of lines) {
    const { command, ...details } = JSON.parse(line, unwrapBinary);
    COMMANDS[command]?.(details);
  }
});
process.stdin.on("end", () => {
  socket?.disconnect();
  // Normally the process ends at once. The time-out is for a polling request that still waits for its answer.
  setTimeout(() => process.exit(), GOODBYE).unref();
});
