"""STL, binary or text: triangles that share no vertices."""

import re

import numpy as np

from service.core.sequences.errors import quoted
from service.core.sequences.readers.frame import (
    MAX_FACES,
    Frame,
    Points,
    Source,
    check_count,
    invalid,
    read_whole,
)

_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER_BYTES = 84
_VERTEX = re.compile(rb"^[ \t]*vertex[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)", re.MULTILINE | re.IGNORECASE)


def read_stl(source: Source, limit: int) -> Frame:
    """The corners of all triangles, each place once, and the triangles."""
    data = read_whole(source)
    count = int.from_bytes(data[80:_HEADER_BYTES], "little")
    # Some binary files begin with "solid", as text does, so their size decides.
    if len(data) >= _HEADER_BYTES and len(data) == _HEADER_BYTES + count * _RECORD.itemsize:
        check_count(source, count, MAX_FACES)
        corners = np.frombuffer(data, _RECORD, count, _HEADER_BYTES)["corners"].astype(
            np.float32
        )  # [F, 3, 3]
        return _frame(source, corners.reshape(-1, 3), limit)
    if not re.match(rb"\s*solid", data, re.IGNORECASE):
        found = f"{len(data):,} bytes for {count:,} triangles"
        raise invalid(source, "is not an STL file", found, "50 bytes each after 84, or text")
    words = [match.groups() for match in _VERTEX.finditer(data.replace(b"\r", b"\n"))]
    check_count(source, len(words), 3 * MAX_FACES)
    try:
        points = np.array([[float(word) for word in triple] for triple in words], np.float32).reshape(-1, 3)
    except ValueError as error:
        raise invalid(source, "has an invalid vertex", quoted(str(error)), "vertex x y z") from None
    if not len(points) or len(points) % 3:
        raise invalid(source, "is truncated or empty", f"{len(points)} vertices", "three to each facet")
    return _frame(source, points, limit)


def _frame(source: Source, corners: Points, limit: int) -> Frame:
    """Join equal places, in the order in which they first appear."""
    _, first, place = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    check_count(source, len(first), limit)
    faces = rank[place.reshape(-1, 3)].astype(np.int32)
    return Frame(corners[first[order]], faces=faces)
