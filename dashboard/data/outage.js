// The reason why the data on the page is not current.

import { computed } from "@preact/signals";
import { available, connection, unresponsive } from "./socket.js";
import { overviewStale } from "./storehouses.js";
import { envs } from "./watched-storehouse.js";

/** @type {import("@preact/signals").ReadonlySignal<"connecting" | "lost" | "stale" | null>} null if the data is current */
export const outage = computed(() => {
  if (connection.value !== "connected") return connection.value;
  if (unresponsive.value) return "lost";
  return overviewStale.value || envs.value?.stale || !available.value ? "stale" : null;
});
