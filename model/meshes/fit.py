"""Distance of points from a mesh, the measure of how well a reconstruction fits its input."""

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

# Sample size for about 2 % accuracy of mean and percentile; a dense scan would take seconds.
MAX_POINTS = 2000
# Points processed together; bounds the memory if every triangle is a candidate for every point.
CHUNK_SIZE = 128


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
    corners = vertices.astype(np.float64) - origin  # [V, 3]
    # One array per coordinate: numpy is many times faster on long rows than on rows of three.
    x, y, z = np.take(np.ascontiguousarray(corners.T), faces.T, axis=1)  # [3, F] each
    center = np.stack([(line[0] + line[1] + line[2]) / 3 for line in (x, y, z)])  # [3, F]
    squares = (x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2  # [3, F]
    radii = np.sqrt(squares.max(axis=0))  # [F]
    centers = np.ascontiguousarray(center.T)  # [F, 3]
    margin = 1e-9 * radii.max()  # for rounding
    # Few queries per tree, so construction time dominates.
    groups = [
        (members, cKDTree(centers[members], balanced_tree=False, compact_nodes=False))
        for members in _by_size(radii)
    ]
    nearest = np.concatenate([members[tree.query(local)[1]] for members, tree in groups])  # [G N]
    measured = _squared_distances(np.tile(local, (len(groups), 1)), corners[faces[nearest]])
    squares = measured.reshape(len(groups), -1).min(axis=0)  # [N]
    upper = np.sqrt(squares) + margin  # [N]

    for start in range(0, len(local), CHUNK_SIZE):
        block = slice(start, start + CHUNK_SIZE)
        points_of, triangles_of = [], []
        for members, tree in groups:
            reach = upper[block] + radii[members].max()
            near = tree.query_ball_point(local[block], reach, return_sorted=False)
            count = [len(candidates) for candidates in near]
            points_of.append(np.repeat(np.arange(start, start + len(count)), count))
            triangles_of.append(
                members[np.fromiter(itertools.chain.from_iterable(near), np.int64, sum(count))]
            )
        point, triangle = np.concatenate(points_of), np.concatenate(triangles_of)  # [C] each
        offset = local[point] - centers[triangle]  # [C, 3]
        kept = np.sqrt(_dot(offset, offset)) - radii[triangle] <= upper[point]
        point, triangle = point[kept], triangle[kept]
        np.minimum.at(squares, point, _squared_distances(local[point], corners[faces[triangle]]))
    distances: NDArray[np.float64] = np.sqrt(squares)
    return distances


def _by_size(radii: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Indices of triangles grouped by size, so that few large ones do not widen the search radius of all."""
    _, octave = np.frexp(np.maximum(radii, radii.max() / 8))  # [F]
    return [np.flatnonzero(octave == value) for value in np.unique(octave)]


def _squared_distances(points: NDArray[np.float64], triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distance [C] from each of points [C, 3] to its own triangle [C, 3, 3]."""
    corner = triangles[:, 0]
    edge_1, edge_2 = triangles[:, 1] - corner, triangles[:, 2] - corner  # [C, 3]
    to_point = points - corner
    # Barycentric coordinates of the projection; if it is inside, the distance is the height above it.
    normal = np.cross(edge_1, edge_2)
    area = _dot(normal, normal)  # [C], squared twice the area
    # The normal of a triangle thinner than 1e-8 of its length is dominated by rounding: use its sides only.
    flat = area <= 1e-16 * _dot(edge_1, edge_1) * _dot(edge_2, edge_2)
    area = np.where(flat, 1, area)
    second = _dot(np.cross(to_point, edge_2), normal) / area
    third = _dot(np.cross(edge_1, to_point), normal) / area
    inside = ~flat & (second >= 0) & (third >= 0) & (second + third <= 1)
    height = _dot(to_point, normal) ** 2 / area
    sides = [
        _squared_distances_to_segments(points, triangles[:, i], triangles[:, (i + 1) % 3]) for i in range(3)
    ]
    return np.where(inside, height, np.minimum.reduce(sides))


def _squared_distances_to_segments(
    points: NDArray[np.float64], starts: NDArray[np.float64], ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    along = ends - starts  # [C, 3]
    length = _dot(along, along)  # [C]
    share = _dot(points - starts, along) / np.where(length > 0, length, 1)
    offset = points - starts - np.clip(share, 0, 1)[:, None] * along
    return _dot(offset, offset)


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = np.einsum("ci,ci->c", a, b)
    return product
