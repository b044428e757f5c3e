// Reads numpy arrays (.npy).

const TYPES = {
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
  b1: Uint8Array,
};

// {shape, values, whole: whether these are whole numbers} of the bytes of an array, of either byte order, row by row.
// Throws for other types. Headers are read wherever numpy reads them: with double quotes, and sizes as Python 2 wrote them (17L).
export function readNpy(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const wide = view.getUint8(6) > 1;
  const start = (wide ? 12 : 10) + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder("latin1").decode(bytes.subarray(10, start)).replace(/['"]/g, "");
  const [, order, kind] = /descr: ([<>|=]?)(\w+)/.exec(header);
  const shape = /shape: \(([^)]*)\)/
    .exec(header)[1]
    .split(",")
    .filter((size) => size.trim())
    .map((size) => parseInt(size, 10));
  const stored = bytes.slice(start);
  if (order === ">") swap(stored, Number(kind[1]));
  const data = stored.buffer;
  const numbers = kind === "f2" ? Float32Array.from(new Uint16Array(data), half) : new TYPES[kind](data);
  const values = /[iu]8$/.test(kind) ? Float64Array.from(numbers, Number) : numbers;
  const columns = header.includes("fortran_order: True") && shape.length > 1;
  return { shape, values: columns ? byRows(values, shape) : values, whole: kind[0] !== "f" };
}

// Reverses the bytes of each number of this size, in place.
function swap(bytes, size) {
  for (let at = 0; at + size <= bytes.length; at += size) bytes.subarray(at, at + size).reverse();
}

// Values whose first index runs fastest (Fortran order), with the last one running fastest.
function byRows(values, shape) {
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((product, size) => product * size, 1));
  const sorted = new values.constructor(values.length);
  for (let at = 0; at < values.length; at += 1) {
    let [rest, from] = [at, 0];
    for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
      from += (rest % shape[axis]) * strides[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    sorted[at] = values[from];
  }
  return sorted;
}

function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return exponent === 31 ? NaN : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
