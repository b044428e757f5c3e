"""LAS and LAZ, the formats of laser scanners.

Format: ASPRS LAS 1.4 R15, section 2. LAZ points are decompressed by lazrs after every number that makes it
allocate memory has been checked against the size of the file.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.readers.frame import Frame, Source, check_count, invalid, read_whole, too_large

_COLOR_OFFSETS = {2: 20, 3: 28, 5: 28, 7: 30, 8: 30, 10: 30}  # of the point formats that have colors
_LEAST_BYTES = {0: 20, 1: 28, 2: 26, 3: 34, 4: 57, 5: 63, 6: 30, 7: 36, 8: 38, 9: 59, 10: 67}
_HEADER_BYTES = 227
_MAX_RATIO = 64  # of points to their compressed bytes; real scans reach 20


def read_las(source: Source, limit: int) -> Frame:
    """Points in the file's coordinates, float64, with colors if there are."""
    data = read_whole(source)
    if data[:4] != b"LASF" or len(data) < _HEADER_BYTES:
        raise invalid(source, "is not a LAS file", f"{len(data):,} bytes", "a header that begins with LASF")
    start, vlrs = struct.unpack_from("<LL", data, 96)
    kind, width, count = struct.unpack_from("<BHL", data, 104)
    if data[25] >= 4 and len(data) >= 255:  # the minor version
        count = struct.unpack_from("<Q", data, 247)[0] or count
    compressed, kind = bool(kind & 0x80), kind & 0x3F
    if kind not in _LEAST_BYTES or width < _LEAST_BYTES[kind] or start > len(data):
        found = f"point format {kind} of {width} bytes from byte {start:,}"
        raise invalid(source, "has an unsupported header", found, "point formats 0 to 10")
    if compressed:
        check_count(source, count, limit)
        records = _decompressed(source, data, start, vlrs, width, count)
    else:
        check_count(source, count, limit, width, len(data) - start)
        records = np.frombuffer(data, np.uint8, count * width, start).reshape(count, width)  # [N, bytes]
    scale, offset = np.frombuffer(data, "<f8", 6, 131).reshape(2, 3)
    whole = np.ascontiguousarray(records[:, :12]).view("<i4")  # [N, 3]
    with np.errstate(over="ignore", invalid="ignore"):
        points = offset + scale * whole
    colors = None
    if kind in _COLOR_OFFSETS:
        at = _COLOR_OFFSETS[kind]
        values = np.ascontiguousarray(records[:, at : at + 6]).view("<u2")  # [N, 3]
        # Many writers store bytes where the format wants 16 bits.
        high = values >> 8 if values.size and values.max() > 255 else values
        colors = high.astype(np.uint8) if values.any() else None
    return Frame(points, colors)


def _decompressed(
    source: Source, data: bytes, start: int, vlrs: int, width: int, count: int
) -> NDArray[np.uint8]:
    """Records [N, width] of a LAZ file."""
    import lazrs  # when it is needed: most uploads are not LAZ

    description = _laszip_record(source, data, vlrs)
    if count * width > _MAX_RATIO * len(data) + (1 << 20):
        found = f"{count * width:,} bytes of points in {len(data):,}"
        raise too_large(source, found, f"at most {_MAX_RATIO} times its size")
    out: NDArray[np.uint8] = np.empty(count * width, np.uint8)
    if not count:
        return out.reshape(0, width)
    _check_chunks(source, data, start, count)
    try:
        if lazrs.LazVlr(description).item_size() != width:
            raise invalid(
                source, "has contradictory sizes", "another size in its LAZ record", f"{width} bytes"
            )
        lazrs.decompress_points(data[start:], description, out, False)
    except (lazrs.LazrsError, ValueError, TypeError, OSError) as error:
        raise invalid(
            source, "is corrupt", str(error)[:60] or "damaged data", "LAZ-compressed points"
        ) from None
    return out.reshape(count, width)


def _laszip_record(source: Source, data: bytes, count: int) -> bytes:
    """The variable-length record that describes the compression."""
    at = struct.unpack_from("<H", data, 94)[0]
    for _ in range(min(count, 1024)):
        if at + 54 > len(data):
            break
        user, number, length = struct.unpack_from("<16sHH", data, at + 2)
        if user.rstrip(b"\0") == b"laszip encoded" and number == 22204:
            return data[at + 54 : at + 54 + length]
        at += 54 + length
    raise invalid(source, "is compressed, but does not say how", f"{count} records", "a laszip record")


def _check_chunks(source: Source, data: bytes, start: int, points: int) -> None:
    """The table of chunks lies in the file and has no more chunks than there are points."""
    at = struct.unpack_from("<q", data, start)[0] if start + 8 <= len(data) else -1
    if at == -1 and len(data) >= 8:  # written as a stream: the offset stands at the end
        at = struct.unpack_from("<q", data, len(data) - 8)[0]
    chunks = struct.unpack_from("<L", data, at + 4)[0] if 0 <= at <= len(data) - 8 else -1
    if not 0 <= chunks <= points or at < start:
        found = f"{chunks:,} chunks from byte {at:,}"
        raise invalid(source, "has an invalid table of chunks", found, f"at most {points:,} within the file")
