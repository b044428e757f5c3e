"""A small closed mesh of quads, with triangles at the poles, and its files."""

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Polygons = list[tuple[int, ...]]


def ball(columns: int = 12, rows: int = 8) -> tuple[NDArray[np.float64], Polygons]:
    """Vertices [V, 3] and polygons of an egg of 0.6 × 1.8 × 0.5, standing on the floor y = 0."""
    around = 2 * np.pi * np.arange(columns) / columns
    vertices = [(0.0, 1.0, 0.0)]
    for t in np.pi * np.arange(1, rows) / rows:
        vertices += [(np.sin(t) * np.cos(p), np.cos(t), np.sin(t) * np.sin(p)) for p in around]
    vertices.append((0.0, -1.0, 0.0))

    def at(row: int, column: int) -> int:
        return 1 + (row - 1) * columns + column % columns

    last = len(vertices) - 1
    polygons: Polygons = [(0, at(1, j + 1), at(1, j)) for j in range(columns)]
    polygons += [
        (at(i, j), at(i, j + 1), at(i + 1, j + 1), at(i + 1, j))
        for i in range(1, rows - 1)
        for j in range(columns)
    ]
    polygons += [(last, at(rows - 1, j), at(rows - 1, j + 1)) for j in range(columns)]
    return np.array(vertices) * [0.3, 0.9, 0.25] + [0, 0.9, 0], polygons


def triangles(polygons: Iterable[Sequence[int]]) -> Polygons:
    return [(q[0], q[k], q[k + 1]) for q in polygons for k in range(1, len(q) - 1)]


def obj(vertices: Any, faces: Iterable[Sequence[int]], word: str = "v ", face: str = "f ") -> str:
    lines = [word + "{:.6f} {:.6f} {:.6f}\n".format(*vertex) for vertex in vertices]
    lines += [face + " ".join(str(corner + 1) for corner in polygon) + "\n" for polygon in faces]
    return "".join(lines)


def ply(vertices: Any, faces: Sequence[Sequence[int]], kind: str) -> bytes:
    """`kind` is ascii, or binary of little or big endian."""
    header = f"ply\nformat {kind} 1.0\nelement vertex {len(vertices)}\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz")
    header += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    if kind == "ascii":
        rows = ["{:.6f} {:.6f} {:.6f}\n".format(*vertex) for vertex in vertices]
        rows += [" ".join(map(str, (len(face), *face))) + "\n" for face in faces]
        return (header + "".join(rows)).encode()
    order = "<" if kind == "binary_little_endian" else ">"
    data = b"".join(struct.pack(order + "3f", *vertex) for vertex in vertices)
    data += b"".join(struct.pack(f"{order}B{len(face)}i", len(face), *face) for face in faces)
    return header.encode() + data
