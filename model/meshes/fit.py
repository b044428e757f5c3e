"""Distance of points from a mesh, the measure of how well a reconstruction fits its input."""

import numpy as np
from numpy.typing import NDArray

from model.cells import Cells, nearest_in_cells, sort_into_cells
from model.compiled import Floats, compiled

# Sample size for about 2 % accuracy of mean and percentile; a dense scan would take seconds.
MAX_POINTS = 2000


def fit(
    points: NDArray[np.floating], vertices: NDArray[np.floating], faces: NDArray[np.integer]
) -> tuple[float, float]:
    """Mean and 95th percentile of the distance from points [N, 3] to the surface, in their units.

    Of more than `MAX_POINTS` points, a random sample with a fixed seed is measured.
    """
    if len(points) > MAX_POINTS:
        points = points[np.random.default_rng(0).choice(len(points), MAX_POINTS, replace=False)]
    distances = surface_distances(points, vertices, faces)  # [N]
    return float(distances.mean()), float(np.percentile(distances, 95))


def surface_distances(
    points: NDArray[np.floating], vertices: NDArray[np.floating], faces: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Exact distance [N] from points [N, 3] to a triangle mesh: vertices [V, 3] and faces [F, 3].

    The distance to the triangle with the nearest center is an upper bound, that to the bounding sphere of a
    triangle a lower bound; only triangles whose lower bound is below the upper bound are measured.
    """
    origin = vertices[0].astype(np.float64)  # for precision far from the origin
    local = np.asarray(points, np.float64) - origin  # [N, 3]
    corners = np.take(vertices.astype(np.float64) - origin, faces, axis=0)  # [F, 3, 3]
    centers, radii = _spheres(corners)  # [F, 3], [F]
    nearest = nearest_in_cells(sort_into_cells(centers), local, 1, np.inf)[1][:, 0]
    squares = _squared_distances(local, corners[nearest])
    for members in _by_size(radii):
        _improve(squares, local, sort_into_cells(centers[members]), corners[members], radii[members])
    distances: NDArray[np.float64] = np.sqrt(squares)
    return distances


def _by_size(radii: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Indices of triangles grouped by size, so that few large ones do not widen the search radius of all."""
    _, octave = np.frexp(np.maximum(radii, radii.max() / 8))  # [F]
    return [np.flatnonzero(octave == value) for value in np.unique(octave)]


@compiled
def _spheres(triangles: Floats) -> tuple[Floats, Floats]:
    """Centers [F, 3] of triangles [F, 3, 3], and how far their furthest corners are from there [F]."""
    centers, radii = np.empty((len(triangles), 3)), np.empty(len(triangles))
    for f in range(len(triangles)):
        for x in range(3):
            centers[f, x] = (triangles[f, 0, x] + triangles[f, 1, x] + triangles[f, 2, x]) / 3
        furthest = 0.0
        for k in range(3):
            square = 0.0
            for x in range(3):
                square += (triangles[f, k, x] - centers[f, x]) ** 2
            furthest = max(furthest, square)
        radii[f] = np.sqrt(furthest)
    return centers, radii


@compiled
def _improve(squares: Floats, points: Floats, cells: Cells, triangles: Floats, radii: Floats) -> None:
    """Lower the squared distances [N] of points [N, 3] to those of triangles [F, 3, 3] that are nearer.

    `cells` holds the triangles' centers, `radii` [F] their furthest corners from there.
    """
    widest = radii.max()
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for i in range(len(points)):
        upper = np.sqrt(squares[i])
        margin = 1e-9 * (upper + widest)  # for rounding
        for x in range(3):
            at, reach = points[i, x] - cells.origin[x], upper + widest + margin
            low[x] = max(0, int(np.floor((at - reach) / cells.side)))
            high[x] = min(cells.shape[x] - 1, int(np.floor((at + reach) / cells.side)))
        if low[2] > high[2]:
            continue
        for a in range(low[0], high[0] + 1):
            for b in range(low[1], high[1] + 1):
                row = (a * cells.shape[1] + b) * cells.shape[2]
                for p in range(cells.starts[row + low[2]], cells.starts[row + high[2] + 1]):
                    f = cells.order[p]
                    d = 0.0
                    for x in range(3):
                        d += (cells.points[p, x] - points[i, x]) ** 2
                    if d <= (upper + margin + radii[f]) ** 2:
                        square = _squared_distance(points[i], triangles[f])
                        if square < squares[i]:
                            squares[i] = square
                            upper = np.sqrt(square)


@compiled
def _squared_distances(points: Floats, triangles: Floats) -> Floats:
    """Squared distance [C] from each of points [C, 3] to its own triangle [C, 3, 3]."""
    squares = np.empty(len(points))
    for i in range(len(points)):
        squares[i] = _squared_distance(points[i], triangles[i])
    return squares


@compiled
def _squared_distance(point: Floats, triangle: Floats) -> float:
    """Squared distance from a point [3] to a triangle [3, 3]."""
    x, y, z = point[0] - triangle[0, 0], point[1] - triangle[0, 1], point[2] - triangle[0, 2]
    ax, ay, az = _edge(triangle, 1)
    bx, by, bz = _edge(triangle, 2)
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx  # the normal
    area = nx * nx + ny * ny + nz * nz  # squared twice the area
    # The normal of a triangle thinner than 1e-8 of its length is dominated by rounding: use its sides only.
    if area > 1e-16 * (ax * ax + ay * ay + az * az) * (bx * bx + by * by + bz * bz):
        # Barycentric coordinates of the projection; if it is inside, the distance is the height above it.
        u = (y * bz - z * by) * nx + (z * bx - x * bz) * ny + (x * by - y * bx) * nz
        v = (ay * z - az * y) * nx + (az * x - ax * z) * ny + (ax * y - ay * x) * nz
        if u >= 0 and v >= 0 and u + v <= area:
            height: float = (x * nx + y * ny + z * nz) ** 2 / area
            return height
    sides = min(_to_segment(x, y, z, ax, ay, az), _to_segment(x, y, z, bx, by, bz))
    return min(sides, _to_segment(x - ax, y - ay, z - az, bx - ax, by - ay, bz - az))


@compiled
def _edge(triangle: Floats, corner: int) -> tuple[float, float, float]:
    return (
        triangle[corner, 0] - triangle[0, 0],
        triangle[corner, 1] - triangle[0, 1],
        triangle[corner, 2] - triangle[0, 2],
    )


@compiled
def _to_segment(x: float, y: float, z: float, ax: float, ay: float, az: float) -> float:
    """Squared distance from a place to the segment from the origin to another."""
    length = ax * ax + ay * ay + az * az
    share = min(max((x * ax + y * ay + z * az) / length, 0.0), 1.0) if length > 0 else 0.0
    return (x - share * ax) ** 2 + (y - share * ay) ** 2 + (z - share * az) ** 2
