// Which axis of the input points up.

const AXES = {
  x: [1, 0, 0],
  y: [0, 1, 0],
  z: [0, 0, 1],
  "-x": [-1, 0, 0],
  "-y": [0, -1, 0],
  "-z": [0, 0, -1],
};

// A name in AXES: what the job says or found out, else a guess from the points.
export function upOf(option, found, sequence) {
  if (option in AXES) return option;
  return found ?? (sequence ? guessUp(sequence) : "y");
}

export const direction = (up) => AXES[up];

// z if the points reach clearly further along z than along y, which people and animals do if z is up.
export function guessUp({ frames: [frame] }) {
  const extent = [1, 2].map((axis) => {
    // Without the outermost points, which may be strays.
    const values = frame.filter((_, i) => i % 3 === axis).sort();
    return values[Math.floor(0.98 * values.length)] - values[Math.floor(0.02 * values.length)];
  });
  return extent[1] > 1.25 * extent[0] ? "z" : "y";
}
