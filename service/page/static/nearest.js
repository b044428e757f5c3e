// Exact distances to a set of triangles or points, by a tree of bounding boxes.

const LEAF = 8; // at most this many members in a leaf

export class Nearest {
  #positions;
  #triangles;
  #order; // members, so that each node of the tree has a range
  #boxes; // low and high corner of node i; its children are 2 i + 1 and 2 i + 2
  #best = 0; // squared distance found so far
  member = -1; // the nearest one, after `distance`

  // `positions` [3 V]; `triangles` [3 F] with indices of positions, or null for the positions themselves.
  constructor(positions, triangles = null) {
    [this.#positions, this.#triangles] = [positions, triangles];
    const count = triangles ? triangles.length / 3 : positions.length / 3;
    this.#order = Uint32Array.from({ length: count }, (_, i) => i);
    let depth = 0;
    while (count / 2 ** depth > LEAF / 2) depth += 1;
    this.#boxes = new Float64Array(6 * 2 ** (depth + 1));
    const centers = new Float64Array(3 * count);
    for (let i = 0; i < centers.length; i += 1) {
      const [member, axis] = [Math.floor(i / 3), i % 3];
      for (const corner of this.#corners(member)) centers[i] += positions[3 * corner + axis];
    }
    this.#build(0, 0, count, centers);
  }

  // The distance from a place to the nearest member; Infinity if there are none.
  distance(x, y, z) {
    this.#best = Infinity;
    if (this.#order.length) this.#visit(0, 0, this.#order.length, [x, y, z]);
    return Math.sqrt(this.#best);
  }

  #corners(member) {
    return this.#triangles ? this.#triangles.subarray(3 * member, 3 * member + 3) : [member];
  }

  #build(node, start, end, centers) {
    const at = 6 * node;
    this.#boxes.fill(Infinity, at, at + 3).fill(-Infinity, at + 3, at + 6);
    for (let i = start; i < end; i += 1)
      for (const corner of this.#corners(this.#order[i]))
        for (let axis = 0; axis < 3; axis += 1) {
          const value = this.#positions[3 * corner + axis];
          if (value < this.#boxes[at + axis]) this.#boxes[at + axis] = value;
          if (value > this.#boxes[at + 3 + axis]) this.#boxes[at + 3 + axis] = value;
        }
    if (end - start <= LEAF) return;
    const sides = [0, 1, 2].map((axis) => this.#boxes[at + 3 + axis] - this.#boxes[at + axis]);
    const middle = (start + end) >> 1;
    select(this.#order, start, end - 1, middle, centers, sides.indexOf(Math.max(...sides)));
    this.#build(2 * node + 1, start, middle, centers);
    this.#build(2 * node + 2, middle, end, centers);
  }

  #visit(node, start, end, place) {
    if (end - start <= LEAF) {
      for (let i = start; i < end; i += 1) {
        const square = this.#triangles
          ? toTriangle(place, this.#positions, this.#triangles, 3 * this.#order[i])
          : toPoint(place, this.#positions, 3 * this.#order[i]);
        if (square < this.#best) [this.#best, this.member] = [square, this.#order[i]];
      }
      return;
    }
    const middle = (start + end) >> 1;
    const [left, right] = [this.#toBox(2 * node + 1, place), this.#toBox(2 * node + 2, place)];
    const visitLeft = () => left < this.#best && this.#visit(2 * node + 1, start, middle, place);
    if (left <= right) visitLeft();
    if (right < this.#best) this.#visit(2 * node + 2, middle, end, place);
    if (left > right) visitLeft();
  }

  #toBox(node, place) {
    let sum = 0;
    for (let axis = 0; axis < 3; axis += 1) {
      const value = place[axis];
      const outside = Math.max(this.#boxes[6 * node + axis] - value, 0, value - this.#boxes[6 * node + 3 + axis]);
      sum += outside * outside;
    }
    return sum;
  }
}

// Partially sorts order[from … to] by center, so that the member at `middle` is where sorting would put it.
function select(order, from, to, middle, centers, axis) {
  while (from < to) {
    const pivot = centers[3 * order[middle] + axis];
    let [low, high] = [from, to];
    while (low <= high) {
      while (centers[3 * order[low] + axis] < pivot) low += 1;
      while (centers[3 * order[high] + axis] > pivot) high -= 1;
      if (low <= high) {
        [order[low], order[high]] = [order[high], order[low]];
        low += 1;
        high -= 1;
      }
    }
    if (high < middle) from = low;
    if (low > middle) to = high;
  }
}

function toPoint([x, y, z], positions, at) {
  return (x - positions[at]) ** 2 + (y - positions[at + 1]) ** 2 + (z - positions[at + 2]) ** 2;
}

// Squared distance to a triangle: C. Ericson, Real-Time Collision Detection, section 5.1.5.
function toTriangle([x, y, z], positions, triangles, at) {
  const [a, b, c] = [3 * triangles[at], 3 * triangles[at + 1], 3 * triangles[at + 2]];
  const [ax, ay, az] = [positions[a], positions[a + 1], positions[a + 2]];
  const [ux, uy, uz] = [positions[b] - ax, positions[b + 1] - ay, positions[b + 2] - az];
  const [vx, vy, vz] = [positions[c] - ax, positions[c + 1] - ay, positions[c + 2] - az];
  const [px, py, pz] = [x - ax, y - ay, z - az];
  const [uu, uv, vv] = [ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz];
  const [pu, pv] = [px * ux + py * uy + pz * uz, px * vx + py * vy + pz * vz];
  const area = uu * vv - uv * uv;
  // The nearest place is a + s u + t v.
  let [s, t] = [(vv * pu - uv * pv) / area, (uu * pv - uv * pu) / area];
  if (!(s >= 0 && t >= 0 && s + t <= 1)) {
    const clamp = (value) => Math.min(1, Math.max(0, value || 0));
    const square = (s, t) => (px - s * ux - t * vx) ** 2 + (py - s * uy - t * vy) ** 2 + (pz - s * uz - t * vz) ** 2;
    const along = clamp((vv - uv - pv + pu) / (uu - 2 * uv + vv)); // from c to b
    return Math.min(square(clamp(pu / uu), 0), square(0, clamp(pv / vv)), square(along, 1 - along));
  }
  return (px - s * ux - t * vx) ** 2 + (py - s * uy - t * vy) ** 2 + (pz - s * uz - t * vz) ** 2;
}
