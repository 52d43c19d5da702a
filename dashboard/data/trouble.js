// Whether what is seen is current, and if not, why.

import { computed } from "@preact/signals";
import { overviewStale } from "./places.js";
import { available, connection, silent } from "./socket.js";
import { envs } from "./watch.js";

/** @type {import("@preact/signals").ReadonlySignal<"connecting" | "lost" | "stale" | null>} null: all is well */
export const trouble = computed(() => {
  if (connection.value !== "connected") return connection.value;
  if (silent.value) return "lost";
  return overviewStale.value || envs.value?.stale || !available.value ? "stale" : null;
});
