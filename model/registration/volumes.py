"""Points that fill a thing, as particles of a simulation and voxels do: the outermost show its surface.

What learned from points on surfaces takes each point for one, and finds a sponge in what is filled.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.canceling import cancelable
from model.compiled import Floats, Ints
from model.meshes.directions import spread
from model.registration.clouds import nearest

DIRECTIONS = 64
LEAST = 200  # points of a frame: fewer have hardly any inside
FRAMES, POINTS, SAMPLE = 3, 8192, 600  # frames, points of each, and those of them that are tested
# A point is inside where its neighbors, numbered from the nearest one, leave no cone free that opens by so
# many degrees to each side of its axis.
INSIDE, NEIGHBORS = 60.0, slice(1, 33)
# Whether a cloud is filled is told from neighbors further away and from smaller cones: the nearest ones lie
# all around where a surface is noisy, too.
SURROUNDED, FURTHER = 45.0, slice(13, 37)
# Share of such points. Drawn surfaces have none, with a noise of 0.01 up to 0.07; filled bodies 0.11 or more.
# Filled things of slim parts have fewer, and nothing is inside them that would do harm.
FILLED = 0.09


def fill_volume(clouds: Sequence[Floats]) -> bool:
    """Whether points [N_t, 3] lie all through a thing, and not only on its surface."""
    rng = np.random.default_rng(0)
    shares = []
    for t in cancelable(np.unique(np.linspace(0, len(clouds) - 1, FRAMES).round().astype(int))):
        cloud = np.unique(clouds[t][rng.permutation(len(clouds[t]))[:POINTS]], axis=0)
        if len(cloud) < LEAST:
            return False
        shares.append(_surrounded(cloud, rng.permutation(len(cloud))[:SAMPLE], FURTHER, SURROUNDED).mean())
    return bool(np.mean(shares) > FILLED)


def outermost(cloud: Floats) -> NDArray[np.bool_]:
    """Which points [N] of a filled cloud [N, 3] have nothing on one side."""
    return ~_surrounded(cloud, np.arange(len(cloud)), NEIGHBORS, INSIDE)


def _surrounded(cloud: Floats, rows: Ints, some: slice, angle: float) -> NDArray[np.bool_]:
    """Whether no cone about a point is free of `some` of its neighbors, of each of `rows` [R]."""
    index = nearest(cKDTree(cloud), cloud[rows], min(some.stop, len(cloud)))[1][:, some]
    offset = cloud[index] - cloud[rows, None]  # [R, K, 3]
    offset /= np.maximum(np.linalg.norm(offset, axis=2, keepdims=True), np.finfo(np.float64).tiny)
    least = np.full(len(rows), np.inf)  # cosine of the angle that the widest free cone opens by
    for axis in spread(DIRECTIONS):
        np.minimum(least, (offset @ axis).max(axis=1), out=least)
    return np.asarray(least > np.cos(np.radians(angle)))
