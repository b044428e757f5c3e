"""Which points lie inside a closed triangle mesh: exact integer winding numbers, with numpy alone.

A ray leaves each point along one axis; every triangle that it passes counts +1 where the surface is left and
-1 where it is entered. The sum is the winding number: 0 outside, 1 inside, 2 where two parts overlap.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

CELLS_PER_TRIANGLE = 2.0  # of the grid in which points are sorted; measured, not critical
PAIRS = 100_000  # points against triangles at once: what fits a cache


def inside(vertices: ArrayLike, faces: ArrayLike, points: ArrayLike) -> NDArray[np.bool_]:
    """Whether points [P, 3] lie inside, [P]; a place where parts of the mesh overlap is inside."""
    return winding_numbers(vertices, faces, points) > 0


def winding_numbers(vertices: ArrayLike, faces: ArrayLike, points: ArrayLike) -> NDArray[np.int32]:
    """How often the mesh (vertices [V, 3], faces [F, 3]) wraps around each of the points [P, 3]: int32 [P].

    The mesh must be closed, and its faces counter-clockwise from outside (else the sign turns). Rays through
    edges and vertices are counted once, by a rule that adjacent triangles share. A point on the surface
    itself may count either way.
    """
    corners = np.asarray(vertices, dtype=np.float64)
    positions = np.asarray(points, dtype=np.float64)
    winding = np.zeros(len(positions), dtype=np.int32)
    low, high = corners.min(axis=0), corners.max(axis=0)
    candidates = np.flatnonzero(((positions > low) & (positions < high)).all(axis=1))
    if not len(candidates):
        return winding
    # Along the thinnest side of the box a ray meets the fewest triangles. A cyclic change of axes keeps the
    # orientation of the faces.
    turned = np.roll([0, 1, 2], 2 - int(np.argmin(high - low)))
    triangles = corners[:, turned][np.asarray(faces)]  # [F, 3, 3]
    winding[candidates] = _count_crossings(triangles, positions[candidates][:, turned])
    return winding


def _count_crossings(triangles: Floats, points: Floats) -> NDArray[np.int32]:
    """Signed crossings [P] of rays along +z, from points [P, 3], with triangles [F, 3, 3]."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]  # [F, 3] each
    lower, upper = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    order, first, count, triangle = _points_under(lower, upper, points)
    points = points[order]
    total = np.zeros(len(points), dtype=np.int32)
    batch = np.cumsum(count) // PAIRS
    for rows in np.split(np.arange(len(count)), np.flatnonzero(np.diff(batch)) + 1):
        if len(rows):
            point = _ranges(first[rows], count[rows])  # [N]
            face = np.repeat(triangle[rows], count[rows])  # [N]
            below = points[point, 2] < upper[face, 2]
            total += _signed_hits(triangles, points, face[below], point[below])
    winding = np.empty_like(total)
    winding[order] = total
    return winding


def _points_under(lower: Floats, upper: Floats, points: Floats) -> tuple[Indices, Indices, Indices, Indices]:
    """Which points may lie under which triangle, seen along z.

    Sorts the points by the cells of a grid in x and y. A triangle's box covers some rows of cells; in each
    row its points are neighbours: in `order` [P] from `first` [R] on, `count` [R] of them, for face
    `triangle` [R].
    """
    low = points[:, :2].min(axis=0)
    extent = np.maximum(np.ptp(points[:, :2], axis=0), 1e-300)
    size = np.sqrt(extent.prod() / (CELLS_PER_TRIANGLE * len(lower)))
    size = max(float(size), float(extent.max()) / 1024)  # however long and thin the box is
    columns, rows = (np.floor(extent / size).astype(np.intp) + 1).tolist()

    x, y = np.floor((points[:, :2] - low) / size).astype(np.intp).T
    cell = y * columns + x
    order = np.argsort(cell, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=rows * columns))])  # [cells + 1]

    limit = np.array([columns, rows])
    begin = np.clip(np.floor((lower[:, :2] - low) / size), 0, limit).astype(np.intp)  # [F, 2]
    end = np.clip(np.floor((upper[:, :2] - low) / size) + 1, 0, limit).astype(np.intp)
    height = np.where(end[:, 0] > begin[:, 0], end[:, 1] - begin[:, 1], 0)  # [F], rows of cells covered
    triangle = np.repeat(np.arange(len(lower)), height)  # [R]
    row = _ranges(begin[:, 1], height) * columns
    first = starts[row + begin[triangle, 0]]
    count = starts[row + end[triangle, 0]] - first
    filled = count > 0
    return order, first[filled], count[filled], triangle[filled]


def _signed_hits(triangles: Floats, points: Floats, face: Indices, point: Indices) -> NDArray[np.int32]:
    """Sum over the pairs (face, point) [N] of +1 or -1 where the point's ray meets the face: [P]."""
    relative = triangles[face] - points[point, None]  # [N, 3 corners, 3]
    x, y, z = np.ascontiguousarray(relative.transpose(2, 1, 0))  # [3 corners, N] each
    sides = [_side(x[a], y[a], x[b], y[b]) for a, b in ((0, 1), (1, 2), (2, 0))]
    (left_0, cross_0), (left_1, cross_1), (left_2, cross_2) = sides
    hit = np.flatnonzero((left_0 == left_1) & (left_1 == left_2))
    # Barycentric height of the hit over the point; each corner is weighted by the edge opposite to it.
    area = cross_0[hit] + cross_1[hit] + cross_2[hit]
    height = cross_1[hit] * z[0, hit] + cross_2[hit] * z[1, hit] + cross_0[hit] * z[2, hit]
    upwards = left_0[hit]
    above = hit[np.where(upwards, height > 0, height < 0) & (area != 0)]
    sign = np.where(left_0[above], 1.0, -1.0)
    crossings: NDArray[np.int32] = np.bincount(point[above], sign, len(points)).astype(np.int32)
    return crossings


def _side(ax: Floats, ay: Floats, bx: Floats, by: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Whether the origin lies to the left of the edge a → b, [N], and twice the area of (origin, a, b).

    An origin on the line is taken as moved by (ε, ε²), so exactly one of two triangles along an edge has it:
    the edge b → a gets the negated area, bit for bit, and the opposite answer.
    """
    cross = ax * by - ay * bx
    tie = np.where(ay == by, bx > ax, ay > by)
    return np.where(cross == 0, tie, cross > 0), cross


def _ranges(first: Indices, count: Indices) -> Indices:
    """first[0], first[0] + 1, … (count[0] of them), first[1], …"""
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    ranges: Indices = np.arange(total) + np.repeat(first - (ends - count), count)
    return ranges
