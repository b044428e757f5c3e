// Reads zip archives, stored or deflated, in memory.

// The files of an archive: path → bytes. Throws for anything else, or if it unpacks to more than `limit` bytes.
export async function unzip(buffer, limit) {
  const view = new DataView(buffer);
  let end = buffer.byteLength - 22;
  while (view.getUint32(end, true) !== 0x06054b50) end -= 1; // throws if there is none
  let at = view.getUint32(end + 16, true);
  const files = new Map();
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
    if ((total += unpacked) > limit) throw new RangeError("too large for a preview");
    if (!name.endsWith("/")) files.set(name, method === 0 ? stored : await inflate(stored));
    at += 46 + nameLength + extra + comment;
  }
  return files;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
