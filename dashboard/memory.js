// What the browser remembers for us. A browser that is told to keep nothing throws: then we remember nothing, and go on.

/**
 * @param {"localStorage" | "sessionStorage"} where
 * @param {string} key
 * @returns {string | null}
 */
export function recall(where, key) {
  try {
    return window[where].getItem(key);
  } catch {
    return null;
  }
}

/**
 * @param {"localStorage" | "sessionStorage"} where
 * @param {string} key
 * @param {string} value
 */
export function remember(where, key, value) {
  try {
    window[where].setItem(key, value);
  } catch {
    // Kept for this page only.
  }
}
