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
STILL = 0.8  # share of a part's points that other frames have in the same place, where some may be hidden
# Of a part that moves, more than a share of the points are in the same place in few other frames, as an arm
# that waves is; what stands still is so rarely, however much of it is hidden now and then.
FEW, MOVES = 0.6, 0.015
MOST = 0.9  # of the points that furniture has
MORE = 1.5  # times the furniture's usual points, from which what stands still in a frame is something else
LIMB, LIMBED = 0.2, 0.25  # share of a body that a limb is at most, and of the frames that show it apart
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


@dataclass(frozen=True)
class Look:
    """A random selection of points [N, 3] of a frame without stray ones, and what is known of them."""

    points: Floats
    part: Ints  # [N], as in `Parts`
    moving: NDArray[np.bool_]  # [N], whether few other frames have points in the same place
    standing: NDArray[np.bool_]  # [N], whether they are of parts that stand still
    reach: float  # within which a place is the same


def standing_still(
    frames: Sequence[Floats], parts: Sequence[Parts], slack: float = 0.0
) -> list[NDArray[np.bool_]]:
    """Which points of clouds [N_t, 3] are of parts that stand still while others move.

    A part stands still if other frames have points in the same place, and if these were found to do so as
    well: what moves slowly is near its mean place in some frames only. What often has a limb that moves is no
    furniture.
    """
    picked = [int(t) for t in even_frames(len(frames), FRAMES)]
    seen = {t: cKDTree(frames[t]) for t in picked}
    looks = side_by_side(lambda t: _look(frames[t], parts[t], _others(seen, t), slack), picked)
    stood = {t: _furniture(look, looks) for t, look in zip(picked, looks, strict=True)}
    if not any(tree.n for tree in stood.values()):
        return [np.zeros(len(cloud), bool) for cloud in frames]

    def stands(t: int) -> NDArray[np.bool_]:
        cloud, of = frames[t], parts[t]
        place = _share(cloud, SAME_PLACE * of.spacing + slack, _others(stood, t))  # [N_t]
        _, named = np.unique(of.part, return_inverse=True)
        still = (np.bincount(named, place) > OFTEN * np.bincount(named))[named]
        return (still & ~of.specks) | (place > OFTEN)  # the latter also where it touches what moves

    found = side_by_side(stands, range(len(frames)))
    nothing = [np.zeros(len(cloud), bool) for cloud in frames]
    counts = np.array([flags.sum() for flags in found])
    if (counts > 0).mean() < OFTEN:  # what is furniture in few frames is the thing, which moves slowly
        return nothing
    alone = np.array([flags[~of.specks].all() for flags, of in zip(found, parts, strict=True)])
    if not alone.all():  # more than the furniture of other frames is the thing, too
        thing = alone & (counts > MORE * np.median(counts[~alone]))
        found = [
            none if is_thing else flags for flags, none, is_thing in zip(found, nothing, thing, strict=True)
        ]
        alone &= ~thing
    shares = counts / np.array([max((~of.specks).sum(), 1) for of in parts])
    if alone.all() or np.median(shares[~alone]) > MOST:  # what moves beside it is part of it
        return nothing
    return found


def _others(trees: Mapping[int, cKDTree], frame: int) -> list[cKDTree]:
    return [tree for t, tree in trees.items() if t != frame]


def _look(cloud: Floats, of: Parts, others: list[cKDTree], slack: float) -> Look:
    """Which parts of a cloud [N, 3] stand still in others; none if everything does."""
    rows = np.sort(np.random.default_rng(0).permutation(len(cloud))[:POINTS])
    rows = rows[~of.specks[rows]]
    reach = SAME_PLACE * of.spacing + slack
    same = _share(cloud[rows], reach, others)  # [R]
    _, named = np.unique(of.part[rows], return_inverse=True)
    size = np.bincount(named)  # [P]
    stands = (np.bincount(named, same) > STILL * size) & (np.bincount(named, same < FEW) <= MOVES * size)
    standing = stands[named] & (not stands.all())
    return Look(cloud[rows], of.part[rows], same < FEW, standing, reach)


def _furniture(look: Look, others: Sequence[Look]) -> cKDTree:
    """The points of a frame that are of parts that stand still and have no limbs in other frames."""
    standing = look.standing.copy()
    for part in np.unique(look.part[look.standing]):
        tree = cKDTree(look.points[look.part == part])
        limbs = sum(_is_limbed(tree, other) for other in others)
        standing[look.part == part] = limbs <= LIMBED * len(others)
    return cKDTree(look.points[standing])


def _is_limbed(thing: cKDTree, look: Look) -> bool:
    """Whether a part of a frame is the thing and little more, of which something moves."""
    there = _share(look.points, look.reach, [thing]) > 0
    for part in np.unique(look.part[there & ~look.standing]):
        of = look.part == part
        if there[of].mean() > 1 - LIMB and look.moving[of].mean() > MOVES:
            return True
    return False


def _share(points: Floats, reach: float, trees: list[cKDTree]) -> Floats:
    """The share [N] of the trees that have a point within reach of each of the points [N, 3]."""
    found = np.zeros(len(points))
    for tree in trees:
        if tree.n:
            near = np.flatnonzero(((points > tree.mins - reach) & (points < tree.maxes + reach)).all(axis=1))
            found[near] += nearest(tree, points[near])[0] < reach
    return found / max(len(trees), 1)
