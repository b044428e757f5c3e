"""OFF: vertices and polygons, as text. Format: http://www.geomview.org/docs/html/OFF.html"""

import re
from itertools import islice

import numpy as np

from service.core.sequences.errors import quoted
from service.core.sequences.readers.frame import (
    MAX_FACES,
    Frame,
    Source,
    bytes_of,
    check_count,
    invalid,
    read_lines,
    whole_number,
)
from service.core.sequences.readers.polygons import grouped, triangles_of
from service.core.sequences.readers.tables import numbers


def read_off(source: Source, limit: int) -> Frame:
    """Vertices, with colors where the file is a COFF, and faces, whose colors are left out."""
    lines = (row for line in read_lines(source) if (row := line.split(b"#")[0].strip()))
    head = next(lines, b"")
    kind = re.match(rb"(C?)(N?)OFF\b", head)
    if kind is None:
        raise invalid(
            source, "is not an OFF file", quoted(head[:20].decode("latin-1")), "OFF in the first line"
        )
    counts = head[kind.end() :].split() or next(lines, b"").split()
    if counts[:1] == [b"BINARY"] or len(counts) < 2:
        found = quoted(b" ".join(counts[:3]).decode("latin-1"))
        raise invalid(source, "has no counts", found, "the numbers of vertices and faces, as text")
    vertices, face_count = (whole_number(source, word) for word in counts[:2])
    check_count(source, vertices, limit, 6, source.size)
    check_count(source, face_count, MAX_FACES, 2, source.size)
    rows = list(islice(lines, vertices))
    width = len(rows[0].split()) if rows else 3
    colored = bool(kind[1]) and width in (6, 7)
    table = numbers(source, rows, 6 if colored else 3)  # [N, 3 or 6]
    polygons = []
    for row in islice(lines, face_count):
        words = row.split()
        try:
            polygons.append([min(int(word), 1 << 40) for word in words[1 : 1 + int(words[0])]])
            if len(polygons[-1]) != int(words[0]):
                raise ValueError
        except ValueError:
            wanted = "the number of corners and each of them"
            raise invalid(source, "has an invalid face", quoted(row.decode("latin-1")), wanted) from None
    for _ in lines:
        pass  # to check the end of the file
    if len(table) < vertices or len(polygons) < face_count:
        found = f"{len(table):,} vertices and {len(polygons):,} faces"
        raise invalid(source, "is truncated", found, f"{vertices:,} and {face_count:,}")
    colors = None
    if colored:
        values = table[:, 3:]
        colors = bytes_of(values if not values.size or np.nanmax(values) <= 1 else values / 255)
    faces = triangles_of(grouped(polygons), source, len(table))
    return Frame(table[:, :3], colors, faces=faces if len(faces) else None)
