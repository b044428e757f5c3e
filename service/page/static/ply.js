// Reads the vertices of PLY files: ASCII, and binary of either byte order.

const SIZES = {
  char: 1, uchar: 1, int8: 1, uint8: 1, short: 2, ushort: 2, int16: 2, uint16: 2,
  int: 4, uint: 4, int32: 4, uint32: 4, float: 4, float32: 4, double: 8, float64: 8,
}; // prettier-ignore
const GETTERS = {
  char: "Int8", int8: "Int8", uchar: "Uint8", uint8: "Uint8", short: "Int16", int16: "Int16",
  ushort: "Uint16", uint16: "Uint16", int: "Int32", int32: "Int32", uint: "Uint32", uint32: "Uint32",
  float: "Float32", float32: "Float32", double: "Float64", float64: "Float64",
}; // prettier-ignore

// Coordinates [3 N] of the vertices. Throws if the file has none.
export function readPly(bytes) {
  const { format, elements, start } = parseHeader(bytes);
  const before = elements.slice(0, elements.findIndex(({ name }) => name === "vertex"));
  const vertex = elements[before.length];
  if (!vertex || vertex.properties.some(({ list }) => list)) throw new TypeError("no plain vertices");
  const columns = ["x", "y", "z"].map((name) => vertex.properties.findIndex((it) => it.name === name));
  if (columns.includes(-1)) throw new TypeError("vertices without x, y and z");
  if (before.some(({ properties }) => properties.some(({ list }) => list)))
    throw new TypeError("lists before the vertices");
  return format === "ascii"
    ? fromText(bytes.subarray(start), before, vertex, columns)
    : fromBinary(bytes, start, format === "binary_little_endian", before, vertex, columns);
}

function parseHeader(bytes) {
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, 65_536));
  const end = /end_header\r?\n/.exec(head);
  if (!head.startsWith("ply") || !end) throw new TypeError("not a PLY file");
  const elements = [];
  let format;
  for (const line of head.slice(0, end.index).split(/\r?\n/)) {
    const [word, ...rest] = line.trim().split(/\s+/);
    if (word === "format") [format] = rest;
    else if (word === "element") elements.push({ name: rest[0], count: Number(rest[1]), properties: [] });
    else if (word === "property")
      elements.at(-1).properties.push({ list: rest[0] === "list", type: rest[0], name: rest.at(-1) });
  }
  return { format, elements, start: end.index + end[0].length };
}

function fromText(bytes, before, vertex, columns) {
  const lines = new TextDecoder().decode(bytes).trim().split("\n");
  const skipped = before.reduce((sum, { count }) => sum + count, 0);
  const points = new Float64Array(3 * vertex.count);
  for (let row = 0; row < vertex.count; row += 1) {
    const words = lines[skipped + row].trim().split(/\s+/);
    columns.forEach((column, axis) => {
      points[3 * row + axis] = Number(words[column]);
    });
  }
  return points;
}

function fromBinary(bytes, start, littleEndian, before, vertex, columns) {
  const widthOf = ({ properties }) => properties.reduce((sum, { type }) => sum + SIZES[type], 0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const first = start + before.reduce((sum, element) => sum + element.count * widthOf(element), 0);
  const width = widthOf(vertex);
  const points = new Float64Array(3 * vertex.count);
  columns.forEach((column, axis) => {
    const offset = widthOf({ properties: vertex.properties.slice(0, column) });
    const get = `get${GETTERS[vertex.properties[column].type]}`;
    for (let row = 0; row < vertex.count; row += 1)
      points[3 * row + axis] = view[get](first + row * width + offset, littleEndian);
  });
  return points;
}
