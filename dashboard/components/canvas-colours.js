// The style sheet's colours, for what is drawn on a canvas.

const SCHEME = window.matchMedia("(prefers-color-scheme: dark)");

/**
 * @param {string} name as the style sheet has it, without its dashes
 * @param {Element} within
 * @returns {string} as rgb(…)
 */
export function colour(name, within) {
  // A property of our own is handed over as it was written; only a real one is worked out.
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  within.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}

/**
 * @param {() => void} listener
 * @returns {() => void} stops it
 */
export function whenColoursChange(listener) {
  SCHEME.addEventListener("change", listener);
  return () => SCHEME.removeEventListener("change", listener);
}
