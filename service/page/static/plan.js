// What a model will do with the chosen sequence, told before it is sent.

import { duration } from "./dom.js";
import { guessUp } from "./up.js";

const LEAST_VALID = 16; // points of a frame whose rows are the same particles in all frames

const count = (value) => value.toLocaleString("en");

// `points`: of each frame, or the fewest and the most.
export const sizeOf = (frames, points) =>
  `${count(frames)} ${frames === 1 ? "frame" : "frames"} of ${[...new Set(points)].map(count).join(" to ")} points`;

// Sentences {text, wrong} about a sequence and a model from `GET /models`; `wrong` ones stand in the way. `options`
// are those of the form.
export function planFor(sequence, { name, input }, options) {
  const { frames, points, counts, invalid, even, times, rate } = sequence;
  const known = { true: true, false: false }[options.corresponding] ?? sequence.corresponding;
  const least = known !== false && even ? LEAST_VALID : input.min_points;
  const gaps = counts.filter((count) => count < least).length;
  const lines = [];
  const say = (text, wrong = false) => lines.push({ text, wrong });
  if (frames.length < input.min_frames)
    say(`${name} needs at least ${input.min_frames} frames. Add the other frames of the sequence.`, true);
  if (frames.length > input.max_frames) say(`${name} takes at most ${count(input.max_frames)} frames.`, true);
  if (!lines.length && frames.length - gaps < input.min_frames)
    say(`${name} needs ${input.min_frames} frames of ${least} points or more, and ${gaps} of ${frames.length} have fewer.`, true);
  if (lines.length) return lines;
  const hollow = `${count(invalid)} ${invalid === 1 ? "point" : "points"} without coordinates`;
  if (invalid && options.cleanup === "drop_invalid") say(`${hollow} will be left out.`);
  else if (invalid) say(`There are ${hollow}. Choose drop_invalid as Cleanup to leave them out.`, true);
  if (gaps)
    say(`${gaps} of ${frames.length} frames have too few points: the motion is interpolated there.`);
  if (!even) say("Frames differ in size, so points are matched from frame to frame.");
  else if (known) say("Row j is the same particle in every frame: the mesh follows these paths.");
  else if (known === false) say("The points have no order: they are matched from frame to frame.");
  else say("The service tests whether row j is the same particle in every frame; if not, it matches the points.");
  if (input.max_points && points[1] > input.max_points)
    say(`Of larger frames, a random selection of ${count(input.max_points)} points is used.`);
  if (input.upright) say(`${name} knows upright people: choose which axis points up, or leave it on auto.`);
  else if (options.up === "auto" && guessUp(sequence) === "z")
    say("z seems to point up. If it does, choose it as the up axis: GLB and USD files then stand upright too.");
  if (!rate || options[rate]) say(`The result plays for ${seconds(times.at(-1))}.`);
  else say("The files contain no times: unless you give a frame rate, 24 frames per second are assumed.");
  return lines;
}

const seconds = (value) => (value < 10 ? `${Number(value.toPrecision(2))} s` : duration(value));
