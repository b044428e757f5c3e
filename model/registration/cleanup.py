"""What does not belong to the thing that moves: stray points, clutter, the floor under it.

Every part that holds a share of the points is kept, so several objects stay several objects; only specks go.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from model.canceling import cancelable
from model.compiled import Floats, Ints
from model.frames import even_frames
from model.registration.clouds import distinct
from model.registration.floor import find_room
from model.registration.furniture import parts_of, standing_still
from model.registration.neighbors import Neighbors, linked_sizes, neighbors_by, search
from model.registration.parallel import side_by_side
from model.registration.planes import NOISY, Plane, on_any, settled
from model.registration.steadying import AT_REST, Placement, steadied

SINGLE = 3  # frames that tell whether a room is seen in each, but not in the same place
SLACK = 0.005  # of the size of a room, how exactly it is steadied
LEAST_POINTS = 32  # of a frame
LEAST_VALID = 16  # of a frame whose rows are the same particles in others, which tell where the rest is
NEIGHBORS = 10
# Multiples of the usual distance to the neighbours. Beyond the first a point is suspected, and stays where
# the frame before or after has a point in its place; beyond the second it goes.
SUSPECT, WILD = 1.8, 4.0
LINK, FAR_LINK = 2.0, 4.0  # multiples of the spacing that join points to parts, tight and loose
SUPPORT = 1.5  # multiples of the spacing within which a point of another frame confirms this one
SPECK = 0.01  # share of the points that a part must reach
FEW, OFTEN = 0.25, 0.8  # of what frames usually show beside planes, and the quantile that is usual
LITTLE = 0.1  # of the largest part that frames usually show beside furniture: less is what furniture leaves
MOST_OUTLIERS = 0.15  # share of a frame's points; more stays, for it is no such thing


@dataclass(frozen=True)
class CleanupReport:
    """Points removed in each of T frames, by reason."""

    not_finite: Ints  # [T]
    duplicates: Ints  # [T]
    outliers: Ints  # [T]
    floor: Ints  # [T], of floor and walls
    still: Ints  # [T], of what stands still in a room beside what moves
    inside: Ints  # [T], of points that fill a volume

    @property
    def total(self) -> int:
        return sum(map(sum, self.to_dict().values()))

    def among(self, shown: Ints, frames: int) -> "CleanupReport":
        """The same for all of so many frames, of which these T are the ones `shown`."""
        every = np.zeros((6, frames), np.int64)
        every[:, shown] = [getattr(self, field.name) for field in fields(self)]
        return CleanupReport(*every)

    def to_dict(self) -> dict[str, list[int]]:
        """The counts of each frame by reason; reasons for which nothing was removed are left out."""
        counts = {
            "not_finite": self.not_finite,
            "duplicates": self.duplicates,
            "outliers": self.outliers,
            "floor": self.floor,
            "still": self.still,
            "inside": self.inside,
        }
        return {reason: count.tolist() for reason, count in counts.items() if count.any()}


def clean(
    frames: Sequence[Floats], remove: bool = True, room: bool = True, least: int = LEAST_POINTS
) -> tuple[list[NDArray[np.bool_]], CleanupReport]:
    """Which points of each cloud [N_t, 3] to keep, and how many went why.

    Points that are not finite always go, and all but the first of those in one place; with `remove` also
    outliers and, with `room`, a clear floor, and outliers stay where under `LEAST_POINTS` would be left.
    Nothing is kept of frames that do not show the thing: that have fewer than `least` points to begin with,
    or nothing but floor and walls.
    """
    kept: list[NDArray[np.bool_]] = [np.asarray(np.isfinite(cloud).all(axis=1)) for cloud in frames]
    not_finite = np.array([(~finite).sum() for finite in kept])
    duplicates = np.array(
        [_drop_duplicates(c, mask) for c, mask in cancelable(zip(frames, kept, strict=True))]
    )
    outliers, floor, still, inside = np.zeros((4, len(kept)), np.int64)
    shown = keep_frames(kept, least)
    if remove:
        if room:  # first: its points lie further apart than the object's and would pass for stray ones
            floor[shown], still[shown] = drop_room([frames[t] for t in shown], [kept[t] for t in shown])
            shown = keep_frames(kept, 1)
        flags = _outliers([frames[t][kept[t]] for t in shown])
        outliers[shown] = _drop([kept[t] for t in shown], flags, MOST_OUTLIERS)
    return kept, CleanupReport(not_finite, duplicates, outliers, floor, still, inside)


def keep_frames(kept: list[NDArray[np.bool_]], least: int) -> list[int]:
    """The frames whose masks [N_t] keep `least` points; masks of others are emptied."""
    for mask in kept:
        if mask.sum() < least:
            mask[:] = False
    return [t for t, mask in enumerate(kept) if mask.any()]


def drop_room(frames: Sequence[Floats], kept: list[NDArray[np.bool_]]) -> tuple[Ints, Ints]:
    """Take floor and walls, and what stands still in such a room, out of masks [N_t] of finite points.

    Masks of frames that show nothing else are emptied. Returns how many points of floor and walls, and of
    what stands still, went: [T] each.
    """
    floor, still = np.zeros((2, len(kept)), np.int64)
    if not frames:
        return floor, still
    planes, places = _room([cloud[mask] for cloud, mask in zip(frames, kept, strict=True)])
    if not planes:
        return floor, still

    def seen(some: Iterable[int]) -> list[Floats]:
        return [places[t].apply(frames[t][kept[t]]) for t in some]

    every = list(range(len(frames)))
    clouds = seen(every)
    slack = 0.0 if places[-1] is AT_REST else SLACK * float(np.ptp(np.concatenate(clouds), axis=0).max())
    of_frames = side_by_side(lambda cloud: settled(planes, cloud), clouds)
    on_planes = [on_any(found, cloud) for found, cloud in zip(of_frames, clouds, strict=True)]
    floor, shown = _drop_from(every, kept, on_planes, _empty(clouds, of_frames, on_planes))
    clouds = seen(shown)
    parts = side_by_side(parts_of, clouds)
    standing = standing_still(clouds, parts, slack)
    stray = [
        on_any(of_frames[t], cloud, NOISY) & of.specks
        for t, cloud, of in zip(shown, clouds, parts, strict=True)
    ]
    no_part = [a | b for a, b in zip(standing, stray, strict=True)]
    largest = np.array(
        [np.bincount(of.part[~f]).max(initial=0) for of, f in zip(parts, no_part, strict=True)]
    )
    crumbs = largest < LITTLE * np.quantile(largest, OFTEN)
    bare = [bool(small and flags.any()) for small, flags in zip(crumbs, standing, strict=True)]
    gone, _ = _drop_from(shown, kept, no_part, bare)
    stood = np.zeros_like(gone)
    stood[shown] = [flags.sum() for flags in standing]
    still = np.where(gone > 0, stood, 0)
    return floor + gone - still, still


def _empty(clouds: list[Floats], planes: list[list[Plane]], on_planes: list[NDArray[np.bool_]]) -> list[bool]:
    """Which of clouds [N_t, 3] show nothing but planes and noise: little is beside these, all of it close.

    What lies on a floor in some frames only is close as well, but it is not little.
    """
    left = np.array([np.count_nonzero(~flag) for flag in on_planes])  # [T]
    few = left < FEW * np.quantile(left, OFTEN)
    pairs = zip(few, clouds, planes, strict=True)
    return [
        bool(is_few and np.count_nonzero(~on_any(found, cloud, NOISY)) < LEAST_POINTS)
        for is_few, cloud, found in pairs
    ]


def _drop_from(
    frames: list[int], kept: list[NDArray[np.bool_]], flags: list[NDArray[np.bool_]], empty: list[bool]
) -> tuple[Ints, list[int]]:
    """Take flagged points out of the masks of some frames: how many, [T], and the frames that show more.

    Masks of those that show nothing else, or are `empty`, become empty, unless none shows more: it may be the
    thing itself.
    """
    short = [
        is_empty or bool(flag.any() and np.count_nonzero(~flag) < LEAST_POINTS)
        for flag, is_empty in zip(flags, empty, strict=True)
    ]
    counts = np.zeros(len(kept), np.int64)
    if all(short):
        return counts, frames
    before = [kept[t].sum() for t in frames]
    counts[frames] = np.where(short, before, _drop([kept[t] for t in frames], flags))
    for t, nothing in zip(frames, short, strict=True):
        kept[t][:] &= not nothing
    return counts, [t for t in frames if kept[t].any()]


def _room(clouds: Sequence[Floats]) -> tuple[list[Plane], list[Placement]]:
    """The planes of a room, and where each cloud [N_t, 3] is in it if the camera moves."""
    planes = find_room(clouds)
    if any(len(find_room([clouds[t]])) > len(planes) for t in even_frames(len(clouds), SINGLE)):
        places = steadied(clouds)
        found = find_room([place.apply(c) for place, c in zip(places, clouds, strict=True)], steadied=True)
        if len(found) > len(planes):
            return found, places
    return planes, [AT_REST] * len(clouds)


def _drop_duplicates(cloud: Floats, mask: NDArray[np.bool_]) -> int:
    """Take points that are copies of earlier ones out of the mask [N] of a cloud [N, 3]: how many."""
    rows = np.flatnonzero(mask)
    first = rows[distinct(cloud[rows])]
    mask[rows] = False
    mask[first] = True
    return len(rows) - len(first)


def _drop(kept: list[NDArray[np.bool_]], flags: list[NDArray[np.bool_]], most: float = 1.0) -> Ints:
    """Take flagged points out of the masks of frames where they are at most a share `most`: how many, [T]."""
    counts = np.zeros(len(kept), np.int64)
    for number, (mask, flag) in enumerate(zip(kept, flags, strict=True)):
        if flag.mean() <= most and len(flag) - flag.sum() >= LEAST_POINTS:
            mask[np.flatnonzero(mask)[flag]] = False
            counts[number] = flag.sum()
    return counts


def _outliers(frames: list[Floats]) -> list[NDArray[np.bool_]]:
    """Points [N_t] that lie apart from the rest of their frame and that neither frame beside it confirms."""
    searches = [search(cloud) for cloud in cancelable(frames)]
    middles = [np.median(cloud, axis=0) for cloud in cancelable(frames)]  # things may walk

    def flagged(number: int) -> NDArray[np.bool_]:
        cloud = frames[number]
        near = neighbors_by(searches[number], cloud, NEIGHBORS)
        isolation, spacing = near.isolation(), float(np.median(near.mean))
        suspect = (isolation > SUSPECT) | _specks(near, LINK * spacing)  # [N_t]
        rows = np.flatnonzero(suspect)
        for other in (number - 1, number + 1):
            if rows.size and 0 <= other < len(frames):
                # The second nearest: an outlier of the other frame that happens to be near confirms nothing.
                distance, _ = searches[other](cloud[rows] + middles[other] - middles[number], 2)
                rows = rows[distance[:, 1] > SUPPORT * spacing]
        wild = (isolation > WILD) | _specks(near, FAR_LINK * spacing)
        wild[rows] = True
        # More than that is a part of the scan with fewer points, not noise.
        return wild if wild.mean() <= MOST_OUTLIERS else np.asarray(isolation > WILD)

    return side_by_side(flagged, range(len(frames)))


def _specks(near: Neighbors, link: float) -> NDArray[np.bool_]:
    """Points [N] in parts of less than `SPECK` of all; neighbours closer than `link` hang together."""
    count = len(near.index)
    return np.asarray(linked_sizes(near.index, near.distance, link) < max(SPECK * count, min(8, count // 4)))
