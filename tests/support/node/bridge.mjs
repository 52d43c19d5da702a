// Lets a test drive a real socket.io-client: commands come in on stdin, what happens goes out on stdout, a JSON object a
// line. Binary arguments travel as {"$binary": "<base64>"}. Disconnects and ends when stdin does. The other side of this is
// tests/support/clients.py.

import { createRequire } from "node:module";

/** @typedef {typeof import("socket.io-client")} Library */
/** @typedef {{version: 3 | 4, url: string, options: object}} Connect */

const require = createRequire(new URL("../../../dashboard/package.json", import.meta.url));
const PACKAGES = { 3: "socket.io-client-3", 4: "socket.io-client" };

const GOODBYE = 500; // milliseconds for the last packets

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

// Standard output to a pipe is synchronous: what one turn of the event loop reports goes out in one write.
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
  const original = this[key]; // a Buffer has become something else in `value`
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
  // With nothing left to do the process ends at once; a polling request may still wait for its answer.
  setTimeout(() => process.exit(), GOODBYE).unref();
});
