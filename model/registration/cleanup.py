"""What does not belong to the thing that moves: stray points, clutter, the floor under it.

Every part that holds a share of the points is kept, so several objects stay several objects; only specks go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.canceling import cancelable
from model.compiled import Floats, Ints
from model.errors import InputError
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
    Raises InputError for a frame that has fewer than `least` to begin with, or nothing but floor and walls.
    """
    kept: list[NDArray[np.bool_]] = [np.asarray(np.isfinite(cloud).all(axis=1)) for cloud in frames]
    not_finite = np.array([(~finite).sum() for finite in kept])
    duplicates = np.array(
        [_drop_duplicates(c, mask) for c, mask in cancelable(zip(frames, kept, strict=True))]
    )
    outliers = floor = still = np.zeros_like(not_finite)
    require_points(kept, CleanupReport(not_finite, duplicates, outliers, floor, still, floor), least)
    if remove:
        if room:  # first: its points lie further apart than the object's and would pass for stray ones
            floor, still = drop_room(frames, kept)
        flags = _outliers([cloud[mask] for cloud, mask in zip(frames, kept, strict=True)])
        outliers = _drop(kept, flags, MOST_OUTLIERS)
    return kept, CleanupReport(not_finite, duplicates, outliers, floor, still, np.zeros_like(floor))


def require_points(kept: list[NDArray[np.bool_]], report: CleanupReport, least: int = LEAST_POINTS) -> None:
    """Raise InputError for the first of T frames whose mask [N_t] keeps fewer than `least` points."""
    for number, mask in enumerate(kept):
        if mask.sum() < least:
            raise InputError(
                f"frame {number} has {mask.sum()} usable points of {len(mask)}: {report.not_finite[number]} "
                f"hold NaN or infinity, {report.duplicates[number]} are copies of others; wanted at least "
                f"{least}"
            )


def drop_room(frames: Sequence[Floats], kept: list[NDArray[np.bool_]]) -> tuple[Ints, Ints]:
    """Take floor and walls, and what stands still in such a room, out of masks [N_t] of finite points.

    Returns how many points of floor and walls, and of what stands still, went: [T] each. Raises InputError if
    that leaves nothing of some frames.
    """
    planes, places = _room([cloud[mask] for cloud, mask in zip(frames, kept, strict=True)])
    if not planes:
        return np.zeros(len(kept), np.int64), np.zeros(len(kept), np.int64)

    def seen() -> list[Floats]:
        return [place.apply(cloud[mask]) for place, cloud, mask in zip(places, frames, kept, strict=True)]

    clouds = seen()
    slack = 0.0 if places[-1] is AT_REST else SLACK * float(np.ptp(np.concatenate(clouds), axis=0).max())
    of_frames = side_by_side(lambda cloud: settled(planes, cloud), clouds)
    on_planes = [on_any(found, cloud) for found, cloud in zip(of_frames, clouds, strict=True)]
    _require_more(on_planes)
    floor = _drop(kept, on_planes)
    clouds = seen()
    parts = side_by_side(parts_of, clouds)
    still = standing_still(clouds, parts, slack)
    stray = [
        on_any(found, cloud, NOISY) & of.specks
        for found, cloud, of in zip(of_frames, clouds, parts, strict=True)
    ]
    no_part = [a | b for a, b in zip(still, stray, strict=True)]
    _require_more(no_part)
    gone = _drop(kept, no_part)
    stood = np.where(gone > 0, [flags.sum() for flags in still], 0)
    return floor + gone - stood, stood


def _require_more(flags: list[NDArray[np.bool_]]) -> None:
    """Raise InputError if some frames show nothing but what is flagged [N_t]: it would stay in them alone."""
    left = np.array([np.count_nonzero(~flag) for flag in flags])  # [T]
    short = np.flatnonzero((left < LEAST_POINTS) & [flag.any() for flag in flags])
    if 0 < len(short) < len(flags):
        first = short[0]
        more = f" (the first of {len(short)} such frames)" if len(short) > 1 else ""
        raise InputError(
            f"without floor, walls and what stands still, frame {first} has {left[first]} of "
            f"{len(flags[first]):,} points{more}; wanted at least {LEAST_POINTS}: leave out frames without "
            "the object, or send cleanup=off to keep all points"
        )


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
