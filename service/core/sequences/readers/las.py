"""LAS and LAZ, the formats of laser scanners.

Format: ASPRS LAS 1.4 R15, section 2.
"""

import struct

import numpy as np

from service.core.sequences.readers.frame import Frame, Source, check_count, invalid, read_whole
from service.core.sequences.readers.laz import decompress

_COLOR_OFFSETS = {2: 20, 3: 28, 5: 28, 7: 30, 8: 30, 10: 30}  # of the point formats that have colors
_LEAST_BYTES = {0: 20, 1: 28, 2: 26, 3: 34, 4: 57, 5: 63, 6: 30, 7: 36, 8: 38, 9: 59, 10: 67}
_HEADER_BYTES = 227


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
        records = decompress(source, data, start, vlrs, width, count)
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
