"""Who lies next to whom, in one frame and over all of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from model.cells import nearest_in_cells, sort_into_cells
from model.compiled import Floats, Ints, compiled
from model.frames import even_frames
from model.registration.clouds import nearest

CANDIDATES = 32  # nearest of one frame, among which the nearest over all frames are looked for
CROWDED = 32  # points in the cell of a point, on average; of a surface without stray points there are 8
FRAMES = 24  # of a longer sequence that are looked at
SAME_PLACE = 0.25  # of the median distance to the neighbours: closer than that counts as this
Search = Callable[[Floats, int], tuple[Floats, Ints]]


@dataclass(frozen=True)
class Neighbors:
    """The nearest rows of each row, nearest first: `index` and `distance` [N, K]."""

    index: Ints
    distance: Floats

    @property
    def mean(self) -> Floats:
        return np.asarray(self.distance.mean(axis=1))  # [N]

    def isolation(self) -> Floats:
        """How much further rows lie from their neighbours than these do from theirs: [N], about 1.

        The local outlier factor in its simplest form (Breunig et al. 2000): a ratio of distances, so that
        neither the unit nor a density that varies over the cloud matters.
        """
        mean = self.mean
        usual = np.maximum(np.median(mean[self.index], axis=1), SAME_PLACE * np.median(mean))
        return np.asarray(mean / np.maximum(usual, np.finfo(np.float64).tiny))


def neighbors(cloud: Floats, count: int) -> Neighbors:
    """The `count` nearest of each point of cloud [N, 3]."""
    return neighbors_by(search(cloud), cloud, count)


def neighbors_by(found: Search, cloud: Floats, count: int) -> Neighbors:
    """As `neighbors`, where the `search` of the cloud is at hand."""
    distance, index = found(cloud, min(count, len(cloud) - 1) + 1)
    return Neighbors(np.ascontiguousarray(index[:, 1:]), np.ascontiguousarray(distance[:, 1:]))


def search(cloud: Floats) -> Search:
    """What finds the nearest points of a cloud [N, 3]: queries [Q, 3], count → distances, indices [Q, count].

    Cells take half of the time of a tree, unless stray points far away widen them.
    """
    cells = sort_into_cells(np.ascontiguousarray(cloud))
    held = np.diff(cells.starts)
    if (held**2).sum() <= CROWDED * len(cloud):
        return lambda queries, count: nearest_in_cells(cells, np.ascontiguousarray(queries), count, np.inf)
    tree = cKDTree(cloud)
    return lambda queries, count: nearest(tree, queries, count)


def linked_sizes(index: Ints, distance: Floats, link: float) -> Ints:
    """Of how many rows the part of each row consists: [N]; see `linked_parts`."""
    root = linked_parts(index, distance, link)
    return np.asarray(np.bincount(root)[root])


@compiled
def linked_parts(index: Ints, distance: Floats, link: float) -> Ints:
    """The first row of the part of each row: [N]; neighbors [N, K] nearer than `link` hang together.

    By disjoint sets, each with its first row as the root.
    """
    count, k = index.shape
    root = np.arange(count)
    for i in range(count):
        for c in range(k):
            if distance[i, c] < link:
                a, b = i, index[i, c]
                while root[a] != a:
                    root[a] = root[root[a]]
                    a = root[a]
                while root[b] != b:
                    root[b] = root[root[b]]
                    b = root[b]
                root[max(a, b)] = min(a, b)
    for i in range(count):  # a root stands before the rows of its part
        root[i] = root[root[i]]
    return root


def path_neighbors(paths: Floats, count: int, rows: Ints | None = None) -> Neighbors:
    """The `count` nearest rows over all frames of paths [T, N, 3], of each row or of `rows` [R].

    Two paths are as far apart as they get in any frame. So a hand that rests on a hip for half of the
    frames is no neighbour of it.
    """
    count = min(count, paths.shape[1] - 1)
    wanted = min(max(CANDIDATES, 2 * count), paths.shape[1] - 1)
    # Neighbours over all frames are neighbours in each one; the widest frame separates the most.
    widest = paths[np.argmax(np.ptp(paths, axis=1).max(axis=1))]
    asked = np.arange(paths.shape[1]) if rows is None else rows
    index = nearest(cKDTree(widest), widest[asked], wanted + 1)[1][:, 1:]  # [R, C]
    squares = np.zeros(index.shape)
    for frame in even_frames(len(paths), FRAMES):
        cloud = paths[frame]
        offset = np.take(cloud, index, axis=0)
        offset -= cloud[asked, None]  # [R, C, 3]
        np.maximum(squares, np.einsum("nci,nci->nc", offset, offset), out=squares)
    order = np.argsort(squares, axis=1, kind="stable")[:, :count]
    return Neighbors(np.take_along_axis(index, order, 1), np.sqrt(np.take_along_axis(squares, order, 1)))
