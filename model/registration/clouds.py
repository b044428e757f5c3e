"""Point clouds made ready for registration: an order of their own, and a few points that stand for all."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from model.cells import Cells, nearest_in_cells, sort_into_cells
from model.compiled import Floats, Ints
from model.registration.kernels import farthest_points


@dataclass(frozen=True)
class Cloud:
    """The points of one frame."""

    points: Floats  # [N, 3]
    cells: Cells
    spacing: float  # mean distance to the nearest other point
    few: Floats  # [C, 3], points that stand for all
    masses: Floats  # [C], the share of the points that each stands for
    camera: Floats  # [3], unit vector to the camera that saw the points; 0 where it is not known

    def nearest(self, queries: Floats, count: int = 1) -> tuple[Floats, Ints]:
        """As `nearest`: distances and indices of the nearest points, [Q] each, [Q, count] of several."""
        distance, index = nearest_in_cells(self.cells, np.ascontiguousarray(queries), count, np.inf)
        return (distance[:, 0], index[:, 0]) if count == 1 else (distance, index)


def canonical(points: Floats) -> Floats:
    """The same points in an order that depends on nothing but them, and not on how they are turned.

    Points [N, 3] are sorted by their distance from the centroid; equal distances by coordinates.
    """
    return np.ascontiguousarray(points[canonical_order(points)])


def canonical_order(points: Floats) -> Ints:
    """Rows [N] of points [N, 3] in the order of `canonical`."""
    order = sorted_by(points.T[::-1])
    exact = points[order]
    return np.asarray(order[sorted_by(((exact - exact.mean(0)) ** 2).sum(1)[None])])


def distinct(points: Floats) -> Ints:
    """Rows of points [N, 3] that are no copies of earlier ones, the points in lexicographic order: [M]."""
    order = sorted_by(points.T)
    ordered = points[order]
    new = np.ones(len(points), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return np.asarray(order[new])


def sorted_by(columns: Floats) -> Ints:
    """The order [N] by the first of columns [D, N], of equal values by the next; stable."""
    order = np.argsort(columns[0])
    first = columns[0][order]
    if (first[1:] > first[:-1]).all():  # as of most clouds: then one column tells, in a third of the time
        return order
    return np.asarray(np.lexsort(columns[::-1]))


def thinned(points: Floats, most: int) -> Floats:
    """At most `most` of the points [N, 3], drawn with a fixed seed, in their order."""
    if len(points) <= most:
        return points
    return points[np.sort(np.random.default_rng(0).permutation(len(points))[:most])]


def make_cloud(points: Floats, few: int = 400) -> Cloud:
    """Prepare points [N, 3] in canonical order."""
    cells = sort_into_cells(points)
    chosen = farthest_points(points, min(few, len(points)), len(points) - 1)
    spacing = float(nearest_in_cells(cells, points, 2, np.inf)[0][:, 1].mean())
    return Cloud(points, cells, spacing, points[chosen], shares(points, points[chosen]), np.zeros(3))


def nearest(tree: cKDTree, points: Floats, count: int = 1) -> tuple[Floats, Ints]:
    """Distances and indices of the nearest points of a tree, [N] each, [N, count] for more than one."""
    distance, index = tree.query(points, count)
    return np.asarray(distance), np.asarray(index)


def patch_normals(patches: Floats) -> Floats:
    """Unit normals [N, 3], of either sign, of the planes through patches of points [N, K, 3]."""
    offset = patches - patches.mean(axis=1, keepdims=True)
    return np.asarray(np.linalg.eigh(offset.transpose(0, 2, 1) @ offset)[1][:, :, 0])


def shares(points: Floats, chosen: Floats) -> Floats:
    """The share [C] of `points` whose nearest one in `chosen` [C, 3] each is."""
    owners = nearest_in_cells(sort_into_cells(chosen), points, 1, np.inf)[1][:, 0]
    return np.bincount(owners, minlength=len(chosen)) / len(points)


def subset(points: Floats, count: int) -> Ints:
    """Indices of `count` points spread evenly, the outermost first."""
    first = int(np.argmax(((points - points.mean(0)) ** 2).sum(1)))
    chosen: Ints = farthest_points(points, min(count, len(points)), first)
    return chosen
