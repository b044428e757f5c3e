"""What stands still in a room, apart from the thing that moves there, and the stray points of its walls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.compiled import Floats, Ints
from model.frames import even_frames
from model.registration.clouds import nearest
from model.registration.neighbors import linked_parts, neighbors
from model.registration.parallel import side_by_side

NEIGHBORS = 10
LINK = 2.0  # multiples of the spacing that join points to parts
SPECK = 0.01  # share of a frame's points that a part must reach; a smaller one is stray
FRAMES, POINTS = 8, 2000  # looked at, of a frame
SAME_PLACE = 2.0  # multiples of the spacing within which another frame has a point in the same place
STILL = 0.9  # share of a part's points that other frames have in the same place, where some may be hidden
# Of a part that moves, more than a share of the points are in the same place in few other frames, as an arm
# that waves is; what stands still is so rarely, however much of it is hidden now and then.
FEW, MOVES = 0.6, 0.015
OFTEN = 0.4  # share of its points that other frames have in parts that stand still, where parts may touch


@dataclass(frozen=True)
class Parts:
    """The parts that the points [N] of a frame hang together in."""

    part: Ints  # [N], the first row of each point's part
    size: Ints  # [N], of how many points it consists
    spacing: float

    @property
    def specks(self) -> NDArray[np.bool_]:
        return np.asarray(self.size < SPECK * len(self.size))


def parts_of(cloud: Floats) -> Parts:
    """The parts of a cloud [N, 3]."""
    near = neighbors(cloud, NEIGHBORS)
    spacing = float(np.median(near.mean))
    part = linked_parts(near.index, near.distance, LINK * spacing)
    return Parts(part, np.bincount(part)[part], spacing)


def standing_still(frames: Sequence[Floats], parts: Sequence[Parts]) -> list[NDArray[np.bool_]]:
    """Which points of clouds [N_t, 3] are of parts that stand still while others move.

    A part stands still if other frames have points in the same place, and if these were found to do so as
    well: what moves slowly is near its mean place in some frames only.
    """
    picked = [int(t) for t in even_frames(len(frames), FRAMES)]
    seen = {t: cKDTree(frames[t]) for t in picked}
    first = side_by_side(lambda t: _steady(frames[t], parts[t], _others(seen, t), STILL, MOVES), picked)
    stood = {t: cKDTree(frames[t][flags]) for t, flags in zip(picked, first, strict=True)}
    return side_by_side(lambda t: _steady(frames[t], parts[t], _others(stood, t), OFTEN), range(len(frames)))


def _others(trees: Mapping[int, cKDTree], frame: int) -> list[cKDTree]:
    return [tree for t, tree in trees.items() if t != frame]


def _steady(
    cloud: Floats, of: Parts, others: list[cKDTree], share: float, moves: float = 1.0
) -> NDArray[np.bool_]:
    """Points [N] of parts of which that share is in the same place in others; none if all of them are.

    Of these parts no more than `moves` is somewhere else in most others.
    """
    found = np.zeros(len(cloud), bool)
    rows = np.sort(np.random.default_rng(0).permutation(len(cloud))[:POINTS])
    rows = rows[~of.specks[rows]]
    if not others or not len(rows):
        return found
    distances = np.stack([nearest(tree, cloud[rows])[0] for tree in others])  # [S, R]
    same = (distances < SAME_PLACE * of.spacing).mean(axis=0)  # [R]
    part, named = np.unique(of.part[rows], return_inverse=True)
    size = np.bincount(named)  # [P]
    stands = (np.bincount(named, same) > share * size) & (np.bincount(named, same < FEW) <= moves * size)
    if not stands.all():  # else nothing moves
        found = np.isin(of.part, part[stands])
    return found
