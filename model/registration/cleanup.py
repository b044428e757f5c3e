"""What does not belong to the thing that moves: stray points, clutter, the floor under it.

Every part that holds a share of the points is kept, so several objects stay several objects; only specks go.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from model.canceling import cancelable
from model.compiled import Floats, Ints
from model.registration.clouds import distinct
from model.registration.masks import LEAST_POINTS, drop, keep_frames
from model.registration.neighbors import Neighbors, linked_sizes, neighbors_by, search
from model.registration.parallel import side_by_side
from model.registration.room import drop_room

NEIGHBORS = 10
# Multiples of the usual distance to the neighbours. Beyond the first a point is suspected, and stays where
# the frame before or after has a point in its place; beyond the second it goes.
SUSPECT, WILD = 1.8, 4.0
LINK, FAR_LINK = 2.0, 4.0  # multiples of the spacing that join points to parts, tight and loose
SUPPORT = 1.5  # multiples of the spacing within which a point of another frame confirms this one
SPECK = 0.01  # share of the points that a part must reach
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
        outliers[shown] = drop([kept[t] for t in shown], flags, MOST_OUTLIERS)
    return kept, CleanupReport(not_finite, duplicates, outliers, floor, still, inside)


def _drop_duplicates(cloud: Floats, mask: NDArray[np.bool_]) -> int:
    """Take points that are copies of earlier ones out of the mask [N] of a cloud [N, 3]: how many."""
    rows = np.flatnonzero(mask)
    first = rows[distinct(cloud[rows])]
    mask[rows] = False
    mask[first] = True
    return len(rows) - len(first)


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
