// Reads depth images: PNG with one channel of 16 bits, or arrays, and the intrinsics of their camera.

const MAX_POINTS = 32_768; // of one image, as the service takes them
const MAX_TOTAL = 20e6; // of all images

// The camera in a JSON file.
export const readIntrinsics = (bytes) => cameraOf(JSON.parse(new TextDecoder().decode(bytes)), 1000);

// {fx, fy, cx, cy, scale, most, size} of the layouts that docs/formats.md names. `unit` is how many stored units are
// one unit of length if `depth_scale` does not say. Throws without a focal length.
export function cameraOf(outer, unit) {
  const inner = outer.intrinsics ?? outer.intrinsic;
  const values = { ...outer, ...(Array.isArray(inner) ? { K: inner } : inner) };
  const given = values.intrinsic_matrix ?? values.K ?? values.camera_matrix;
  const matrix = (given?.data ?? given)?.flat();
  const center = matrix?.[6] || matrix?.[7] ? [6, 7] : [2, 5]; // by columns, as Open3D writes it, or by rows
  const [fx, fy, cx, cy] = matrix
    ? [0, 4, ...center].map((at) => matrix[at])
    : [values.fx, values.fy, values.ppx ?? values.cx, values.ppy ?? values.cy];
  const scale = values.depth_scale ?? unit;
  const camera = { fx, fy, cx, cy, scale: scale < 1 ? 1 / scale : scale, most: values.depth_max ?? Infinity };
  if (!Object.values(camera).every((value) => value > -Infinity) || !(fx > 0)) throw new TypeError("no intrinsics");
  return { ...camera, size: values.width && values.height ? [values.width, values.height] : null };
}

// Coordinates [3 N] of the pixels of a PNG that have a depth. `images` is how many there are of this camera.
export const readDepth = async (bytes, camera, images) => pointsOf(await pixels(bytes), camera, images);

// Coordinates [3 N] of an image {width, height, depths [height · width], whole: whether depths are whole numbers}:
// x to the right, y up, seen along -z.
export function pointsOf({ width, height, depths, whole }, { fx, fy, cx, cy, scale, most, size }, images) {
  const [across, down] = size ? [width / size[0], height / size[1]] : [1, 1]; // of smaller copies of its images
  const [middle, center] = [(cx + 0.5) * across - 0.5, (cy + 0.5) * down - 0.5];
  const seen = [];
  depths.forEach((stored, at) => {
    const measured = stored > 0 && stored < Infinity && !(whole && stored === 65535);
    if (measured && stored / scale <= most) seen.push(at);
  });
  const count = Math.min(seen.length, MAX_POINTS, Math.floor(MAX_TOTAL / images));
  const points = new Float64Array(3 * count);
  for (let i = 0; i < count; i += 1) {
    const at = seen[Math.floor((i * seen.length) / count)]; // spread evenly over the image
    const [row, column, away] = [Math.floor(at / width), at % width, depths[at] / scale];
    points.set([((column - middle) * away) / (fx * across), (-(row - center) * away) / (fy * down), -away], 3 * i);
  }
  return points;
}

// The stored values of a PNG [height · width]. A canvas would give 8 bits of them.
async function pixels(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  // one gray channel of 16 bits, not interlaced
  if (view.getUint32(0) !== 0x89504e47 || view.getUint16(24) !== 0x1000 || bytes[28])
    throw new TypeError("not a depth image");
  const parts = [];
  for (let at = 8; at < bytes.length; ) {
    const size = view.getUint32(at);
    if (view.getUint32(at + 4) === 0x49444154) parts.push(bytes.subarray(at + 8, at + 8 + size)); // IDAT
    at += size + 12;
  }
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = unfilter(new Uint8Array(await new Response(stream).arrayBuffer()), 2 * width, height);
  const depths = Uint16Array.from({ length: width * height }, (_, i) => (data[2 * i] << 8) | data[2 * i + 1]);
  return { width, height, depths, whole: true };
}

// Undoes the filter of each row, which its first byte names: the difference to neighbors, two bytes a pixel.
function unfilter(data, size, height) {
  const out = new Uint8Array(size * height);
  for (let row = 0; row < height; row += 1) {
    const filter = data[row * (size + 1)];
    for (let at = 0; at < size; at += 1) {
      const here = row * size + at;
      const left = at > 1 ? out[here - 2] : 0;
      const up = row ? out[here - size] : 0;
      const corner = row && at > 1 ? out[here - size - 2] : 0;
      const expected = [0, left, up, (left + up) >> 1, closest(left, up, corner)][filter];
      out[here] = data[row * (size + 1) + 1 + at] + expected;
    }
  }
  return out;
}

function closest(left, up, corner) {
  const [toLeft, toUp, toCorner] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner;
}
