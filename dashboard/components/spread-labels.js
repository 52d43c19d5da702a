// Moves overlapping labels apart.

const ROUNDS = 60;
const SPACE = 4; // pixels between two labels

/**
 * @param {[number, number][]} positions centres of the labels, 0 to 1
 * @param {{width: number, height: number}} area pixels
 * @param {{width: number, height: number}} label pixels
 * @returns {[number, number][]} the centres in pixels
 */
export function spreadLabels(positions, area, label) {
  const inside = (/** @type {number} */ centre, /** @type {number} */ length, /** @type {number} */ size) =>
    Math.max(size / 2 + SPACE, Math.min(length - size / 2 - SPACE, centre));
  const spots = positions.map(([x, y]) => ({ x: x * area.width, y: y * area.height }));
  for (let round = 0; round < ROUNDS; round += 1) {
    let moved = false;
    for (const spot of spots) {
      spot.x = inside(spot.x, area.width, label.width);
      spot.y = inside(spot.y, area.height, label.height);
    }
    spots.forEach((spot, index) => {
      for (const other of spots.slice(index + 1)) moved = separate(spot, other, label) || moved;
    });
    if (!moved) break;
  }
  return spots.map(({ x, y }) => [Math.round(x), Math.round(y)]);
}

/**
 * Move two overlapping labels apart in the direction of the smaller overlap.
 * @param {{x: number, y: number}} first
 * @param {{x: number, y: number}} second
 * @param {{width: number, height: number}} label
 * @returns {boolean} whether they were moved
 */
function separate(first, second, label) {
  const across = label.width + SPACE - Math.abs(first.x - second.x);
  const down = label.height + SPACE - Math.abs(first.y - second.y);
  if (across <= 0 || down <= 0) return false;
  const way = across < down ? "x" : "y";
  const half = Math.min(across, down) / 2 + 0.5;
  const sign = first[way] <= second[way] ? 1 : -1;
  first[way] -= half * sign;
  second[way] += half * sign;
  return true;
}
