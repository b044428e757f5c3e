// Which axis of the input points up.

const AXES = {
  x: [1, 0, 0],
  y: [0, 1, 0],
  z: [0, 0, 1],
  "-x": [-1, 0, 0],
  "-y": [0, -1, 0],
  "-z": [0, 0, -1],
};

export const NAMES = Object.keys(AXES);

// A name in AXES: what was chosen, or what the job found out, else a guess from the points.
export function upOf(option, found, sequence) {
  if (option in AXES) return option;
  return found ?? (sequence ? guessUp(sequence) : "y");
}

export const direction = (up) => AXES[up];

// As `model/registration/upright.py`, which says why: y unless z is likelier.
export function guessUp({ frames, origin }) {
  const shown = frames.filter((frame) => frame.length);
  const [first, last] = [shown[0], shown.at(-1)].map((frame) => [0, 1, 2].map((axis) => span(frame, axis)));
  const extent = first.map(([low, high]) => high - low);
  const far = 0.3 * Math.max(...[...first, ...last].map(([low, high]) => high - low));
  const walked = first.map(([low, high], axis) => Math.abs(last[axis][0] + last[axis][1] - low - high) / 2);
  if (isBeforeCamera(shown[0], origin) || walked[2] > Math.max(far, 2 * walked[1])) return "y";
  return walked[1] > Math.max(far, 2 * walked[2]) || extent[2] > 1.25 * extent[1] ? "z" : "y";
}

// The lowest and the highest coordinate, without the outermost points, which may be strays.
function span(frame, axis) {
  const values = frame.filter((_, i) => i % 3 === axis).sort();
  return [0.02, 0.98].map((share) => values[Math.floor(share * values.length)]);
}

function isBeforeCamera(frame, origin) {
  let seen = 0;
  for (let i = 0; i < frame.length; i += 3) {
    const [x, y, z] = origin.map((value, axis) => value + frame[i + axis]);
    seen += z < 0 && Math.max(Math.abs(x), Math.abs(y)) < -1.75 * z;
  }
  return seen > (0.98 * frame.length) / 3;
}
