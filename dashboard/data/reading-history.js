// Readings of the past, for curves.

import { Refused, ask } from "./socket.js";

/** @import { History, Id } from "../contract.js" */

/**
 * @param {Id} store_house_id
 * @param {number} start milliseconds
 * @param {number} end milliseconds
 * @param {number} points at most so many for each sensor
 * @param {{sensor_id?: Id, wanted?: () => boolean}} [options]
 * @returns {Promise<History | null>} null where the server has no history, or nobody wants it any more
 */
export async function readingHistory(store_house_id, start, end, points, { sensor_id, wanted } = {}) {
  const question = { store_house_id, start: iso(start), end: iso(end), points: Math.round(points) };
  try {
    return (await ask("queryEnvs", sensor_id === undefined ? question : { ...question, sensor_id }, wanted)) ?? null;
  } catch (error) {
    if (error instanceof Refused && error.code === "unknown_event") return null;
    throw error;
  }
}

/** @param {number} time */
function iso(time) {
  return new Date(time).toISOString();
}
