// Stores texts in the browser. If the browser's settings forbid this, the storage throws, and nothing is stored.

/**
 * @param {"localStorage" | "sessionStorage"} storage
 * @param {string} key
 * @returns {string | null}
 */
export function readStored(storage, key) {
  try {
    return window[storage].getItem(key);
  } catch {
    return null;
  }
}

/**
 * @param {"localStorage" | "sessionStorage"} storage
 * @param {string} key
 * @param {string} value
 */
export function writeStored(storage, key, value) {
  try {
    window[storage].setItem(key, value);
  } catch {
    // The page then has the value only until it is closed or reloaded.
  }
}
