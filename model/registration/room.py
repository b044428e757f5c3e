"""The room that a recording shows around the thing that moves: floor, walls and furniture are taken away."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from model.compiled import Floats, Ints
from model.frames import even_frames
from model.registration.floor import find_room
from model.registration.furniture import parts_of, standing_still
from model.registration.masks import LEAST_POINTS, drop
from model.registration.parallel import side_by_side
from model.registration.planes import NOISY, Plane, on_any, settled
from model.registration.steadying import AT_REST, Placement, steadied

SINGLE = 3  # frames that tell whether a room is seen in each, but not in the same place
SLACK = 0.005  # of the size of a room, how exactly it is steadied
FEW, OFTEN = 0.25, 0.8  # of what frames usually show beside planes, and the quantile that is usual
LITTLE = 0.1  # of the largest part that frames usually show beside furniture: less is what furniture leaves


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
    counts[frames] = np.where(short, before, drop([kept[t] for t in frames], flags))
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
