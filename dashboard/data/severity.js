// The order of severities and states.

/** @import { Severity, StorehouseState } from "../contract.js" */

/** All severities, the worst first. */
export const SEVERITIES = /** @type {const} */ (["critical", "warning", "info"]);
/** All states of a sensor, the worst first. */
export const SENSOR_STATES = /** @type {const} */ ([...SEVERITIES, "bad", "stale", "good"]);
/** All states of a storehouse, the worst first. */
export const STOREHOUSE_STATES = /** @type {const} */ ([...SEVERITIES, "stale", "good", "empty"]);

/**
 * Return the severity of an alarm. An unknown word from a site's own system counts as a warning, as on the server.
 * @param {string} word
 * @returns {Severity}
 */
export function knownSeverity(word) {
  return SEVERITIES.find((severity) => severity === word) ?? "warning";
}

/**
 * Compare two severities for sorting, the worst first.
 * @param {string} first
 * @param {string} second
 */
export function compareSeverities(first, second) {
  return SEVERITIES.indexOf(knownSeverity(first)) - SEVERITIES.indexOf(knownSeverity(second));
}

/**
 * Compare two states for sorting, the worst first.
 * @param {StorehouseState} first
 * @param {StorehouseState} second
 */
export function compareStorehouseStates(first, second) {
  return STOREHOUSE_STATES.indexOf(first) - STOREHOUSE_STATES.indexOf(second);
}
