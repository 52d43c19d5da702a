// What does not work.

import { computed } from "@preact/signals";
import { available, connection, unresponsive } from "./socket.js";
import { lastOverview } from "./storehouses.js";
import { envs } from "./watched-storehouse.js";

/** @type {import("@preact/signals").ReadonlySignal<"connecting" | "lost" | "stale" | "unrecorded" | null>} */
export const outage = computed(() => {
  if (connection.value !== "connected") return connection.value;
  if (unresponsive.value) return "lost";
  const pushed = [lastOverview.value, envs.value];
  if (pushed.some((push) => push?.stale) || !available.value) return "stale";
  return pushed.some((push) => push?.unrecorded) ? "unrecorded" : null;
});

/** Whether the data on the page is not current. */
export const notCurrent = computed(() => outage.value === "lost" || outage.value === "stale");
