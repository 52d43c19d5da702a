// Texts kept in the browser. One that is told to keep nothing throws: then nothing is stored, and the page goes on.

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
    // Kept for this page only.
  }
}
