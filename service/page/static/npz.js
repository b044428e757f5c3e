// Reads the points of a .npz file or a .zip of .npz frames (see docs/sequences.md) for the preview.
// Files that cannot be read are simply not previewed; the service does the validation.

const MAX_BYTES = 128e6;
const MAX_POINTS = 20_000; // per frame; larger frames are subsampled

// Returns {frames: [Float32Array], times: [seconds since the first frame], origin: [3], points: [fewest,
// most] of a frame}, or null. Coordinates are relative to `origin`, so that float32 is precise enough.
export async function readSequence(file) {
  try {
    if (file.size > MAX_BYTES) return null;
    const entries = await unzip(await file.arrayBuffer());
    const frames = entries.points ? framesOf(entries) : await framesOfFiles(entries);
    return frames?.length ? relative(frames, entries.times && array(entries.times)) : null;
  } catch {
    return null;
  }
}

// The entries of a zip archive: name (without .npy) → bytes.
async function unzip(buffer) {
  const view = new DataView(buffer);
  let end = buffer.byteLength - 22;
  while (view.getUint32(end, true) !== 0x06054b50) end -= 1; // throws if there is none
  let at = view.getUint32(end + 16, true);
  const entries = {};
  let total = 0;
  for (let left = view.getUint16(end + 10, true); left > 0; left -= 1) {
    const [method, packed, unpacked] = [
      view.getUint16(at + 10, true),
      view.getUint32(at + 20, true),
      view.getUint32(at + 24, true),
    ];
    const [nameLength, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    const local = view.getUint32(at + 42, true);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const name = new TextDecoder().decode(new Uint8Array(buffer, at + 46, nameLength));
    const stored = new Uint8Array(buffer, start, packed);
    if ((total += unpacked) > 2 * MAX_BYTES) throw new RangeError("too large for a preview");
    entries[name.replace(/\.npy$/, "")] = method === 0 ? stored : await inflate(stored);
    at += 46 + nameLength + extra + comment;
  }
  return entries;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Shape and values of a .npy file.
function array(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const wide = view.getUint8(6) > 1;
  const start = (wide ? 12 : 10) + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder("latin1").decode(bytes.subarray(10, start));
  const kind = /'descr': '[<|=]?(\w+)'/.exec(header)[1];
  const shape = /'shape': \(([^)]*)\)/
    .exec(header)[1]
    .split(",")
    .filter((size) => size.trim())
    .map(Number);
  if (header.includes("'fortran_order': True") && shape.length > 1) throw new TypeError("Fortran order");
  const data = bytes.slice(start).buffer;
  const types = {
    f4: Float32Array,
    f8: Float64Array,
    i4: Int32Array,
    i8: BigInt64Array,
    u4: Uint32Array,
    u8: BigUint64Array,
    i2: Int16Array,
    u2: Uint16Array,
    i1: Int8Array,
    u1: Uint8Array,
  };
  const values = kind === "f2" ? Float32Array.from(new Uint16Array(data), half) : new types[kind](data);
  return { shape, values: /8$/.test(kind) && kind !== "f8" ? Float64Array.from(values, Number) : values };
}

function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return exponent === 31 ? NaN : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function framesOf(entries) {
  const { shape, values } = array(entries.points);
  if (shape.length === 3 && shape[2] === 3) {
    return Array.from({ length: shape[0] }, (_, t) =>
      values.subarray(3 * t * shape[1], 3 * (t + 1) * shape[1]),
    );
  }
  if (shape.length !== 2 || shape[1] !== 3) return null;
  const rows = [];
  if (entries.lengths) {
    let start = 0;
    for (const length of array(entries.lengths).values)
      rows.push(values.subarray(3 * start, 3 * (start += length)));
  } else if (entries.frame) {
    array(entries.frame).values.forEach((t, row) =>
      (rows[t] ??= []).push(...values.subarray(3 * row, 3 * row + 3)),
    );
  }
  return rows;
}

async function framesOfFiles(entries) {
  const names = Object.keys(entries)
    .filter((name) => /^\d+\.npz$/.test(name))
    .sort();
  return Promise.all(
    names.map(async (name) => {
      const inner = await unzip(entries[name].slice().buffer);
      const points = array(inner.points).values;
      const loc = inner.loc ? array(inner.loc).values : [0, 0, 0];
      const scale = inner.scale ? array(inner.scale).values[0] : 1;
      return Float64Array.from(points, (value, i) => loc[i % 3] + scale * value);
    }),
  );
}

function relative(frames, times) {
  const origin = [0, 1, 2].map((axis) => {
    let [low, high] = [Infinity, -Infinity];
    for (let i = axis; i < frames[0].length; i += 3)
      [low, high] = [Math.min(low, frames[0][i]), Math.max(high, frames[0][i])];
    return (low + high) / 2;
  });
  const counts = frames.map((frame) => frame.length / 3);
  const points = [Math.min(...counts), Math.max(...counts)];
  const stride = Math.ceil(points[1] / MAX_POINTS);
  const sampled = frames.map((frame) => {
    const kept = new Float32Array(3 * Math.ceil(frame.length / 3 / stride));
    for (let i = 0; i < kept.length; i += 1)
      kept[i] = frame[3 * stride * Math.floor(i / 3) + (i % 3)] - origin[i % 3];
    return kept;
  });
  if (!sampled.every((frame) => frame.every(Number.isFinite))) return null;
  const stamps =
    times?.values.length === frames.length
      ? Array.from(times.values, (t) => t - times.values[0])
      : frames.map((_, t) => t / Math.max(1, frames.length - 1));
  return { frames: sampled, times: stamps, origin, points };
}
