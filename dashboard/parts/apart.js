// Labels that would hide each other are moved apart, as little as will do.

const ROUNDS = 60;
const SPACE = 4; // pixels between two labels

/**
 * @param {[number, number][]} positions of the labels' centres, 0 to 1
 * @param {{width: number, height: number}} area pixels
 * @param {{width: number, height: number}} label pixels
 * @returns {[number, number][]} the centres in pixels
 */
export function apart(positions, area, label) {
  const inside = (/** @type {number} */ place, /** @type {number} */ whole, /** @type {number} */ own) =>
    Math.max(own / 2 + SPACE, Math.min(whole - own / 2 - SPACE, place));
  const spots = positions.map(([x, y]) => ({ x: x * area.width, y: y * area.height }));
  for (let round = 0; round < ROUNDS; round += 1) {
    let moved = false;
    for (const spot of spots) {
      spot.x = inside(spot.x, area.width, label.width);
      spot.y = inside(spot.y, area.height, label.height);
    }
    spots.forEach((one, index) => {
      for (const other of spots.slice(index + 1)) moved = separate(one, other, label) || moved;
    });
    if (!moved) break;
  }
  return spots.map(({ x, y }) => [Math.round(x), Math.round(y)]);
}

/**
 * Move two apart along the shorter way. Whether they had to.
 * @param {{x: number, y: number}} one
 * @param {{x: number, y: number}} other
 * @param {{width: number, height: number}} label
 */
function separate(one, other, label) {
  const across = label.width + SPACE - Math.abs(one.x - other.x);
  const down = label.height + SPACE - Math.abs(one.y - other.y);
  if (across <= 0 || down <= 0) return false;
  const way = across < down ? "x" : "y";
  const half = Math.min(across, down) / 2 + 0.5;
  const sign = one[way] <= other[way] ? 1 : -1;
  one[way] -= half * sign;
  other[way] += half * sign;
  return true;
}
