// Keeps a page running for weeks: reloads it once a day and after an error, which also gets the newest version.

const DAY = 86_400_000; // milliseconds
const AFTER_DEFECT = 60_000; // milliseconds; an error at the start must not reload the page in a loop

export function keepRunning() {
  setTimeout(reload, DAY);
  for (const defect of ["error", "unhandledrejection"]) {
    window.addEventListener(defect, () => setTimeout(reload, AFTER_DEFECT), { once: true });
  }
  keepAwake();
  document.addEventListener("visibilitychange", keepAwake);
}

/** Reload the page when the server answers. The browser's own error page would never reload itself. */
async function reload() {
  try {
    const answer = await fetch("/", { cache: "no-store" });
    if (answer.ok) window.location.reload();
    else throw new Error(String(answer.status));
  } catch {
    setTimeout(reload, AFTER_DEFECT);
  }
}

async function keepAwake() {
  if (document.visibilityState !== "visible") return;
  try {
    await navigator.wakeLock?.request("screen");
  } catch {
    // The browser does not allow it, so the screen may switch itself off.
  }
}
