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

// {shape, values, whole: whether these are whole numbers} of the bytes of an array. Throws for other byte orders and
// types. Headers are read wherever numpy reads them: with double quotes, and sizes as Python 2 wrote them (17L).
export function readNpy(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const wide = view.getUint8(6) > 1;
  const start = (wide ? 12 : 10) + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder("latin1").decode(bytes.subarray(10, start)).replace(/['"]/g, "");
  const kind = /descr: [<|=]?(\w+)/.exec(header)[1];
  const shape = /shape: \(([^)]*)\)/
    .exec(header)[1]
    .split(",")
    .filter((size) => size.trim())
    .map((size) => parseInt(size, 10));
  if (header.includes("fortran_order: True") && shape.length > 1) throw new TypeError("Fortran order");
  const data = bytes.slice(start).buffer;
  const values = kind === "f2" ? Float32Array.from(new Uint16Array(data), half) : new TYPES[kind](data);
  return { shape, values: /[iu]8$/.test(kind) ? Float64Array.from(values, Number) : values, whole: kind[0] !== "f" };
}

function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return exponent === 31 ? NaN : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
