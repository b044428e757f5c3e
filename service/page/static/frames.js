// Readers of files that hold one frame each, by how their names end.

import { readNpy } from "./npy.js";
import { readPcd } from "./pcd.js";
import { readPly } from "./ply.js";

// Each returns the coordinates [3 N] in the bytes of a file, or throws.
const READERS = {
  bin: readKitti,
  csv: readText,
  las: readLas,
  npy: (bytes) => rows(readNpy(bytes)),
  obj: (bytes) => readText(bytes, /^v\s+(.*)$/gm),
  off: readOff,
  pcd: readPcd,
  ply: readPly,
  pts: readText,
  stl: readStl,
  txt: readText,
  xyz: readText,
};

export const suffixOf = (name) => /\.([A-Za-z0-9]+)$/.exec(name)?.[1].toLowerCase() ?? "";
export const isFrame = (name) => suffixOf(name) in READERS;
export const readFrame = (name, bytes) => READERS[suffixOf(name)](bytes);

// frame2 before frame10
export const naturally = new Intl.Collator("en", { numeric: true }).compare;

function rows({ shape, values }) {
  if (shape.length !== 2 || shape[1] < 3) throw new TypeError("not points [N, 3]");
  const [count, width] = shape;
  return Float64Array.from({ length: 3 * count }, (_, i) => values[width * Math.floor(i / 3) + (i % 3)]);
}

const WITHOUT = /^[+-]?(nan|inf(inity)?)$/i; // as C and numpy write what is no coordinate
const isNumber = (word) => WITHOUT.test(word) || (word && Number.isFinite(Number(word)));

// The first three numbers of every line that begins with three numbers; `#` starts a comment.
function readText(bytes, lines = /^(.*)$/gm) {
  const points = [];
  for (const [, line] of new TextDecoder().decode(bytes).matchAll(lines)) {
    const words = line.split("#")[0].trim().split(/[\s,;]+/).slice(0, 3);
    if (words.length === 3 && words.every(isNumber)) points.push(...words.map(Number)); // Number("inf") is NaN
  }
  return Float64Array.from(points);
}

// LAS 1.0 to 1.4, not compressed (LAZ).
function readLas(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [start, width] = [view.getUint32(96, true), view.getUint16(105, true)];
  const long = view.getUint8(25) >= 4; // LAS 1.4, where 32 bits may be too few
  const count = view.getUint32(107, true) || (long ? Number(view.getBigUint64(247, true)) : 0);
  if (view.getUint32(0, false) !== 0x4c415346 || view.getUint8(104) & 0x80) throw new TypeError("not a LAS file");
  const [scale, offset] = [131, 155].map((at) => [0, 8, 16].map((by) => view.getFloat64(at + by, true)));
  return Float64Array.from({ length: 3 * count }, (_, i) => {
    const [row, axis] = [Math.floor(i / 3), i % 3];
    return offset[axis] + scale[axis] * view.getInt32(start + row * width + 4 * axis, true);
  });
}

// x, y, z and the strength of the reflection of each point, as KITTI stores a scan.
function readKitti(bytes) {
  const values = new Float32Array(bytes.slice().buffer);
  return Float64Array.from({ length: (3 * values.length) / 4 }, (_, i) => values[4 * Math.floor(i / 3) + (i % 3)]);
}

// The vertices follow the three counts, with colors or normals after the coordinates in some kinds (COFF, NOFF).
function readOff(bytes) {
  const lines = new TextDecoder().decode(bytes).replace(/#.*/g, "").trim().split(/\s*\n\s*/);
  const counts = lines[0].replace(/^[A-Z]*OFF\s*/, "") ? 0 : 1; // the line that holds them
  const count = Number(/\d+/.exec(lines[counts].replace(/^[A-Z]*OFF/, ""))[0]);
  return readText(new TextEncoder().encode(lines.slice(counts + 1, counts + 1 + count).join("\n")));
}

// The corners of all triangles, binary or as text.
function readStl(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = bytes.length >= 84 ? view.getUint32(80, true) : 0;
  if (bytes.length !== 84 + 50 * count) return readText(bytes, /^\s*vertex\s+(.*)$/gm);
  return Float64Array.from({ length: 9 * count }, (_, i) =>
    view.getFloat32(96 + 50 * Math.floor(i / 9) + 4 * (i % 9), true),
  );
}
