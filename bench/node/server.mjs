// Node's Socket.IO server as a measured server: `node server.mjs PING_S MESSAGE_FILE ANSWER_FILE`. It supports the
// commands of control.py.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Server } from "socket.io";

const [pingSeconds, messageFile, answerFile] = process.argv.slice(2);
const message = JSON.parse(readFileSync(messageFile, "utf8"));
const answer = JSON.parse(readFileSync(answerFile, "utf8"));

const http = createServer();
const io = new Server(http, { pingInterval: Number(pingSeconds) * 1000, serveClient: false });
const watched = new Set();

io.on("connection", (socket) => {
  socket.on("register", ({ store_house_id }, acknowledge) => {
    socket.join(`storehouse ${store_house_id}`);
    watched.add(store_house_id);
    acknowledge({ ok: true });
  });
  socket.on("orgs", (acknowledge) => {
    socket.emit("orgs", answer);
    acknowledge({ ok: true, data: answer });
  });
});

// Returns the monotonic clock as a date since 1970.
function stamp() {
  const microseconds = process.hrtime.bigint() / 1000n;
  const date = new Date(Number(microseconds / 1000n)).toISOString();
  return `${date.slice(0, -1)}${String(microseconds % 1000n).padStart(3, "0")}Z`;
}

function push() {
  for (const store_house_id of watched) {
    io.to(`storehouse ${store_house_id}`).emit("envs", { ...message, store_house_id, time: stamp() });
  }
}

const say = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);

http.listen(0, "127.0.0.1", async () => {
  say({ port: http.address().port });
  for await (const line of createInterface({ input: process.stdin })) {
    const [rounds, gap] = line.split(" ").slice(1).map(Number);
    for (let round = 0; round < rounds; round++) {
      push();
      await (gap ? sleep(gap) : new Promise(setImmediate));
    }
    say({ done: rounds });
  }
  process.exit(0);
});
