// The order of severities and states, in one place.

/** @import { Severity, StorehouseState } from "../contract.js" */

/** From the worst to the mildest. */
export const SEVERITIES = /** @type {const} */ (["critical", "warning", "info"]);
/** From the worst to the best. */
export const SENSOR_STATES = /** @type {const} */ ([...SEVERITIES, "bad", "stale", "good"]);
/** From the worst to the best. */
export const STOREHOUSE_STATES = /** @type {const} */ ([...SEVERITIES, "stale", "good", "empty"]);

/**
 * Of an alarm: a site's own alarm system may have other words, which count as a warning, as they do on the server.
 * @param {string} word
 * @returns {Severity}
 */
export function knownSeverity(word) {
  return SEVERITIES.find((severity) => severity === word) ?? "warning";
}

/**
 * For sorting, the worst first.
 * @param {string} first
 * @param {string} second
 */
export function compareSeverities(first, second) {
  return SEVERITIES.indexOf(knownSeverity(first)) - SEVERITIES.indexOf(knownSeverity(second));
}

/**
 * For sorting, the worst first.
 * @param {StorehouseState} first
 * @param {StorehouseState} second
 */
export function compareStorehouseStates(first, second) {
  return STOREHOUSE_STATES.indexOf(first) - STOREHOUSE_STATES.indexOf(second);
}
