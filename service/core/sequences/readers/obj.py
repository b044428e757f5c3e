"""OBJ: vertices and faces of any polygons. Materials, groups and texture say nothing about geometry.

Format: http://www.martinreddy.net/gfx/3d/OBJ.spec
"""

import re

import numpy as np

from service.core.sequences.errors import quoted
from service.core.sequences.readers.frame import Frame, Source, bytes_of, check_count, invalid, read_whole
from service.core.sequences.readers.polygons import grouped, triangles_of

MAX_TEXT_BYTES = 64 << 20
_LINE = re.compile(rb"^[ \t]*([vf])[ \t]+([^#\r\n]*)", re.MULTILINE)
_CONTINUED = re.compile(rb"\\[ \t]*\r?\n")


def read_obj(source: Source, limit: int) -> Frame:
    """Vertices with their colors, if all have one, and faces, whose corners may be counted from the end."""
    text = _CONTINUED.sub(b" ", read_whole(source, limit=MAX_TEXT_BYTES))
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\0" in text[:1024]:
        raise invalid(source, "is not an OBJ file", "binary data", "lines of text such as v 0 0 1")
    vertices: list[list[float]] = []
    polygons: list[list[int]] = []
    for line in _LINE.finditer(text):
        words = line[2].split()
        try:
            if line[1] == b"v":
                if len(words) < 3:
                    raise ValueError
                vertices.append([float(word) for word in words[:7]])
                if len(vertices) > limit:
                    check_count(source, len(vertices), limit)
            else:
                count = len(vertices)
                corners = [int(word.partition(b"/")[0]) for word in words]
                polygons.append([corner - 1 if corner > 0 else count + corner for corner in corners])
                if 0 in corners or (corners and max(map(abs, corners)) > 1 << 40):
                    raise ValueError
        except ValueError:
            number = text.count(b"\n", 0, line.start()) + 1
            found = f"line {number}: {quoted(line[0].decode('latin-1').strip())}"
            wanted = "numbers" if line[1] == b"v" else "vertices counted from 1, or from the end by -1"
            raise invalid(source, "has a line that cannot be read", found, wanted) from None
    points = np.array([vertex[:3] for vertex in vertices], np.float64).reshape(-1, 3)  # [N, 3]
    colors = None
    # x y z r g b, and x y z w r g b
    if vertices and {len(vertex) for vertex in vertices} <= {6, 7} and len(vertices[0]) == len(vertices[-1]):
        values = np.array([vertex[-3:] for vertex in vertices])
        with np.errstate(invalid="ignore"):
            colors = bytes_of(values if values.max() <= 1 else values / 255)
    faces = triangles_of(grouped(polygons), source, len(points))
    return Frame(points, colors, faces=faces if len(faces) else None)
