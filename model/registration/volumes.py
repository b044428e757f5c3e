"""Points that fill a thing, as particles of a simulation and voxels do: the outermost show its surface.

What learned from points on surfaces takes each point for one, and finds a sponge in what is filled.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.canceling import cancelable
from model.compiled import Floats, Ints
from model.frames import even_frames
from model.meshes.directions import spread
from model.registration.clouds import nearest

DIRECTIONS = 64
TOGETHER = 256  # points, for which it takes 4 MB to look in all directions
LEAST = 200  # points of a frame: fewer have hardly any inside
FRAMES, POINTS, SAMPLE = 3, 8192, 1500  # frames, points of each, and those of them that are tested
# A point is inside where its neighbors, numbered from the nearest one, leave no cone free that opens by so
# many degrees to each side of its axis.
INSIDE, NEIGHBORS = 60.0, slice(1, 33)
# Whether a cloud is filled is told from neighbors further away and from smaller cones: the nearest ones lie
# all around where a surface is noisy, too.
SURROUNDED, FURTHER = 45.0, slice(13, 37)
# Share of such points. Drawn surfaces have none, with a noise of 0.01 up to 0.07; filled bodies 0.11 or more.
# Filled things of slim parts have fewer, and nothing is inside them that would do harm.
FILLED = 0.09
# What is filled ends at once, noise thins out: the distance to the neighbor of this number, where it is large
# among points that are not inside (90th percentile), over the median of the surrounded ones. Up to 1.48 of
# filled bodies, 1.65 or more of surfaces that are noisy enough to have that share of surrounded points.
NUMBER, SHARP = 8, 1.56


def fill_volume(clouds: Sequence[Floats]) -> bool:
    """Whether points [N_t, 3] lie all through a thing, and not only on its surface."""
    rng = np.random.default_rng(0)
    shares, edges = [], []
    for t in cancelable(even_frames(len(clouds), FRAMES)):
        cloud = np.unique(clouds[t][rng.permutation(len(clouds[t]))[:POINTS]], axis=0)
        if len(cloud) < LEAST:
            return False
        rows = rng.permutation(len(cloud))[:SAMPLE]
        distance, index = nearest(cKDTree(cloud), cloud[rows], FURTHER.stop)
        surrounded = _surrounded(cloud, rows, index[:, FURTHER], SURROUNDED)
        outer = ~_surrounded(cloud, rows, index[:, NEIGHBORS], INSIDE)
        if not surrounded.any() or not outer.any():
            return False
        shares.append(surrounded.mean())
        wide = np.percentile(distance[outer, NUMBER], 90)
        edges.append(wide / np.median(distance[surrounded, NUMBER]))
    return bool(np.mean(shares) > FILLED and np.mean(edges) < SHARP)


def outermost(cloud: Floats) -> NDArray[np.bool_]:
    """Which points [N] of a filled cloud [N, 3] have nothing on one side."""
    index = nearest(cKDTree(cloud), cloud, NEIGHBORS.stop)[1][:, NEIGHBORS]
    return ~_surrounded(cloud, np.arange(len(cloud)), index, INSIDE)


def _surrounded(cloud: Floats, rows: Ints, index: Ints, angle: float) -> NDArray[np.bool_]:
    """Whether no cone about a point is free of its neighbors `index` [R, K], of each of `rows` [R]."""
    offset = cloud[index] - cloud[rows, None]  # [R, K, 3]
    offset /= np.maximum(np.linalg.norm(offset, axis=2, keepdims=True), np.finfo(np.float64).tiny)
    axes = spread(DIRECTIONS).T  # [3, A]
    parts = np.array_split(offset, 1 + len(offset) // TOGETHER)
    least = [(part @ axes).max(axis=1).min(axis=1) for part in parts]  # cosines of the widest free cones
    return np.asarray(np.concatenate(least) > np.cos(np.radians(angle)))
