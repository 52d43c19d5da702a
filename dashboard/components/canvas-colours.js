// Reads the colours of the style sheet, for drawing on a canvas.

const SCHEME = window.matchMedia("(prefers-color-scheme: dark)");

/**
 * @param {string} name of the custom property, without the dashes
 * @param {Element} within
 * @returns {string} as rgb(…)
 */
export function colour(name, within) {
  // The browser returns a custom property as it is written. It resolves only a real property, such as `color`.
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  within.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}

/**
 * @param {() => void} listener
 * @returns {() => void} call it to stop
 */
export function whenColoursChange(listener) {
  SCHEME.addEventListener("change", listener);
  return () => SCHEME.removeEventListener("change", listener);
}
