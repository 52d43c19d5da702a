// A page that nobody touches for weeks: it gets the newest version at night, and begins again after a defect.

const DAY = 86_400_000; // milliseconds
const AFTER_DEFECT = 60_000; // milliseconds; a defect at the start must not become a storm of reloads

export function keepRunning() {
  setTimeout(reload, DAY);
  for (const defect of ["error", "unhandledrejection"]) {
    window.addEventListener(defect, () => setTimeout(reload, AFTER_DEFECT), { once: true });
  }
  keepAwake();
  document.addEventListener("visibilitychange", keepAwake);
}

/** Only from a server that answers: an error page would stay for ever. */
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
    // It may not: then the screen's own settings count.
  }
}
