// Reads the points of an upload (see docs/sequences.md) to show them: one archive, or one file per frame.
// What cannot be read is not shown; the service does the validation.

import { cameraOf, pointsOf, readDepth, readIntrinsics } from "./depth.js";
import { isFrame, naturally, readFrame, suffixOf } from "./frames.js";
import { readNpy } from "./npy.js";
import { timesOf, timesOfNames, timesOfNumbers, UNTIMED_FPS } from "./times.js";
import { unzip } from "./zip.js";

export const MAX_BYTES = 128e6;
const MAX_POINTS = 20_000; // per frame; of larger frames every second, third, … point is shown
const LARGEST = 1e18; // coordinate that the service takes
const LEAST = 32; // points of a frame; across one with fewer the motion is interpolated

// Returns {frames: [Float32Array], times: [seconds since the first frame], rate, origin: [3], points: [fewest, most]
// of a frame, counts: [points with coordinates in each], invalid: how many are without, even: whether all frames with
// enough points have as many, corresponding}, or null. Points without coordinates are not in the frames. Coordinates
// are relative to `origin`, so that float32 is precise enough. `rate` is the option that tells how fast the frames follow each other: null if the files do.
// `corresponding` is true, false or null for unknown.
export async function readSequence(files) {
  try {
    if (files.reduce((sum, { size }) => sum + size, 0) > MAX_BYTES) return null;
    const entries = new Map();
    for (const file of files) entries.set(file.name, new Uint8Array(await file.arrayBuffer()));
    const [[name, bytes]] = entries;
    return await (entries.size === 1 && isArchive(bytes) ? ofArchive(bytes) : ofFiles(entries));
  } catch {
    return null;
  }
}

// The sequence with the times at which its frames play in a result with these options.
export function asPlayed(sequence, options) {
  if (!sequence) return null;
  const { frames, times, rate } = sequence;
  const span = options[rate] ? (times.at(-1) * UNTIMED_FPS) / options[rate] : times.at(-1);
  const played = options.duration ?? (options.playback_fps ? (frames.length - 1) / options.playback_fps : span);
  return { ...sequence, times: times.map((time) => time * (played / times.at(-1) || 1)) };
}

const isArchive = (bytes) => bytes[0] === 0x50 && bytes[1] === 0x4b; // PK

async function ofArchive(bytes) {
  const entries = await unzip(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length), 2 * MAX_BYTES);
  if (entries.has("points.npy")) return ofArrays(entries);
  return entries.has("depth.npy") ? ofDepths(entries) : ofFiles(entries, true);
}

// One frame per file, in the natural order of names; other files are left out.
async function ofFiles(entries, inArchive = false) {
  const all = [...entries.keys()].sort(naturally);
  const frames = [];
  const recorded = all.filter((name) => /(^|\/)depth\/[^/]+\.png$/i.test(name)); // beside color, in an RGB-D recording
  const names = recorded.length ? [] : all.filter((name) => isFrame(name) || suffixOf(name) === "npz");
  const images = recorded.length ? recorded : all.filter((name) => suffixOf(name) === "png");
  if (!names.length) {
    const camera = readIntrinsics(entries.get(all.find((name) => suffixOf(name) === "json")));
    for (const name of images) {
      const image = entries.get(name);
      frames.push(image.length ? await readDepth(image, camera, images.length) : []);
    }
  }
  for (const name of names) {
    const content = entries.get(name);
    const read = () => (suffixOf(name) === "npz" ? published(content) : readFrame(name, content));
    // A single array can hold the whole sequence; in an archive it has a name.
    if (!inArchive && names.length === 1 && suffixOf(name) === "npy") return ofArrays(new Map([["points.npy", content]]));
    frames.push(content.length ? await read() : []); // of an empty file
  }
  return relative(frames, timesOfNames(names.length ? names : images), null, "fps");
}

// points · scale + loc of one frame in the published layout
async function published(bytes) {
  const inner = await unzip(bytes.slice().buffer, MAX_BYTES);
  const array = (name) => inner.has(`${name}.npy`) && readNpy(inner.get(`${name}.npy`)).values;
  const [loc, scale] = [array("loc") || [0, 0, 0], array("scale")?.[0] ?? 1];
  return Float64Array.from(array("points"), (value, i) => loc[i % 3] + scale * value);
}

function ofArrays(entries) {
  const array = (name) => (entries.has(`${name}.npy`) ? readNpy(entries.get(`${name}.npy`)) : null);
  const { shape, values } = array("points");
  const flag = array("corresponding");
  let known = timed(array("times"));
  if (shape.length === 3 && shape[2] === 3) {
    const size = 3 * shape[1];
    const frames = Array.from({ length: shape[0] }, (_, t) => values.subarray(t * size, (t + 1) * size));
    return relative(frames, known, flag ? Boolean(flag.values[0]) : null);
  }
  if (shape.length !== 2 || shape[1] !== 3) return null;
  const frames = [];
  const [lengths, numbers] = [array("lengths")?.values, array("frame")?.values];
  if (lengths) {
    let start = 0;
    for (const length of lengths) frames.push(values.subarray(3 * start, 3 * (start += length)));
  } else if (numbers) { // in order; they begin anywhere, and some may be missing
    for (let start = 0, row = 1; row <= numbers.length; row++) {
      if (row === numbers.length || numbers[row] !== numbers[start]) {
        frames.push(values.subarray(3 * start, 3 * row));
        start = row;
      }
    }
    known ??= timesOfNumbers([...new Set(numbers)]);
  }
  const gaps = frames.some((frame) => frame.length < 3 * LEAST); // then those between may correspond
  return relative(frames, known, gaps && flag ? Boolean(flag.values[0]) : gaps ? null : false);
}

// `depth` [T, H, W], and the numbers and matrices of its camera, of all images or of each.
function ofDepths(entries) {
  const arrays = Object.fromEntries([...entries].map(([name, bytes]) => [name.replace(/\.npy$/, ""), readNpy(bytes)]));
  const { depth, times, ...others } = arrays;
  const [count, height, width] = depth.shape;
  const cameraAt = (t) => {
    const numbers = Object.entries(others).map(([name, { shape, values }]) => {
      const size = shape.length > 1 ? 9 : 1;
      const start = values.length > size ? size * t : 0;
      return [name, size > 1 ? [...values.subarray(start, start + size)] : values[start]];
    });
    return cameraOf(Object.fromEntries(numbers), depth.whole ? 1000 : 1);
  };
  const frames = Array.from({ length: count }, (_, t) => {
    const depths = depth.values.subarray(t * height * width, (t + 1) * height * width);
    return pointsOf({ width, height, depths, whole: depth.whole }, cameraAt(t), count);
  });
  return relative(frames, timed(times), false);
}

const timed = (array) => (array ? timesOf(array.values) : null);

// `known`: from times.js. `rate`: the option for the frame rate, where they are unknown or count frames.
function relative(frames, known, corresponding, rate = "playback_fps") {
  if (!frames.length || frames.includes(undefined)) return null;
  const seen = frames.map(withCoordinates);
  const first = seen.find((frame) => frame.length);
  if (!first) return null;
  const origin = [0, 1, 2].map((axis) => {
    let [low, high] = [Infinity, -Infinity];
    for (let i = axis; i < first.length; i += 3) [low, high] = [Math.min(low, first[i]), Math.max(high, first[i])];
    return (low + high) / 2;
  });
  const [all, counts] = [frames, seen].map((some) => some.map((frame) => frame.length / 3));
  const invalid = all.reduce((sum, count, t) => sum + count - counts[t], 0);
  const stride = Math.ceil(Math.max(...counts) / MAX_POINTS);
  const sampled = seen.map((frame) => {
    const kept = new Float32Array(3 * Math.ceil(frame.length / 3 / stride));
    for (let i = 0; i < kept.length; i += 1)
      kept[i] = frame[3 * stride * Math.floor(i / 3) + (i % 3)] - origin[i % 3];
    return kept;
  });
  if (known?.times.length !== frames.length) known = null;
  const times = known?.times ?? frames.map((_, t) => t / UNTIMED_FPS);
  if (known && !known.rate) rate = null;
  const points = [Math.min(...all), Math.max(...all)];
  const even = new Set(all.filter((count) => count >= LEAST)).size === 1;
  if (!even) corresponding = false;
  return { frames: sampled, times, rate, origin, points, counts, invalid, even, corresponding };
}

// A frame [3 N] without the points that have no coordinates, as cameras write them where they saw nothing.
function withCoordinates(frame) {
  const isValid = (i) => [0, 1, 2].every((axis) => Math.abs(frame[i + axis]) <= LARGEST); // false for NaN
  const kept = [];
  for (let i = 0; i < frame.length; i += 3) if (isValid(i)) kept.push(frame[i], frame[i + 1], frame[i + 2]);
  return kept.length < frame.length ? Float64Array.from(kept) : frame;
}
