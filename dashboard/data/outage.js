// What does not work, and whether it makes the data on the page out of date.

import { computed } from "@preact/signals";
import { available, connection, unresponsive } from "./socket.js";
import { lastOverview } from "./storehouses.js";
import { envs } from "./watched-storehouse.js";

/** @type {import("@preact/signals").ReadonlySignal<"connecting" | "lost" | "stale" | "unrecorded" | null>} */
export const outage = computed(() => {
  if (connection.value !== "connected") return connection.value;
  if (unresponsive.value) return "lost";
  if (lastOverview.value?.stale || envs.value?.stale || !available.value) return "stale";
  return lastOverview.value?.unrecorded || envs.value?.unrecorded ? "unrecorded" : null;
});

/** Whether the data on the page is not current. */
export const notCurrent = computed(() => outage.value === "lost" || outage.value === "stale");
