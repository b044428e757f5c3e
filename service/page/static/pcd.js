// Reads PCD files of the Point Cloud Library: ascii, binary and binary_compressed.

const GETTERS = { F4: "Float32", F8: "Float64", I1: "Int8", I2: "Int16", I4: "Int32", U1: "Uint8", U2: "Uint16", U4: "Uint32" };

// Coordinates [3 N] of the points that have any; PCL writes NaN where a camera saw nothing.
export function readPcd(bytes) {
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, 8192));
  const end = /^DATA (\w+)\r?\n/m.exec(head);
  if (!end) throw new TypeError("not a PCD file");
  const line = (name) => new RegExp(`^${name} (.*)$`, "m").exec(head)?.[1].trim().split(/\s+/);
  const [names, sizes, types] = [line("FIELDS"), line("SIZE").map(Number), line("TYPE")];
  const counts = line("COUNT")?.map(Number) ?? names.map(() => 1);
  const rows = Number(line("POINTS")[0]);
  const columns = ["x", "y", "z"].map((name) => names.indexOf(name));
  if (columns.includes(-1)) throw new TypeError("points without x, y and z");
  const data = bytes.subarray(end.index + end[0].length);
  const widths = sizes.map((size, i) => size * counts[i]);
  const upTo = (values, column) => values.slice(0, column).reduce((sum, value) => sum + value, 0);
  const points = new Float64Array(3 * rows);
  if (end[1] === "ascii") {
    const lines = new TextDecoder().decode(data).trim().split("\n");
    for (let row = 0; row < rows; row += 1) {
      const words = lines[row].trim().split(/\s+/);
      columns.forEach((column, axis) => {
        points[3 * row + axis] = Number(words[upTo(counts, column)]);
      });
    }
  } else {
    const packed = end[1] === "binary_compressed"; // field by field instead of point by point
    const content = packed ? decompress(data) : data;
    const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
    const width = upTo(widths, widths.length);
    columns.forEach((column, axis) => {
      const get = `get${GETTERS[types[column] + sizes[column]]}`;
      const start = upTo(widths, column) * (packed ? rows : 1);
      const stride = packed ? widths[column] : width;
      for (let row = 0; row < rows; row += 1) points[3 * row + axis] = view[get](start + row * stride, true);
    });
  }
  const seen = [];
  for (let i = 0; i < points.length; i += 3)
    if (!Number.isNaN(points[i] + points[i + 1] + points[i + 2])) seen.push(points[i], points[i + 1], points[i + 2]);
  return Float64Array.from(seen);
}

// LZF, after the sizes of the compressed and the original data.
function decompress(data) {
  const view = new DataView(data.buffer, data.byteOffset);
  const [packed, size] = [view.getUint32(0, true), view.getUint32(4, true)];
  const source = data.subarray(8, 8 + packed);
  const out = new Uint8Array(size);
  for (let from = 0, to = 0; from < source.length; ) {
    const control = source[from++];
    if (control < 32) {
      out.set(source.subarray(from, from + control + 1), to);
      from += control + 1;
      to += control + 1;
    } else {
      let length = control >> 5;
      if (length === 7) length += source[from++];
      let back = to - ((control & 31) << 8) - source[from++] - 1;
      for (let left = length + 2; left > 0; left -= 1) out[to++] = out[back++];
    }
  }
  return out;
}
