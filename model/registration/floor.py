"""The floor and walls that a scan brings along, only where there is no doubt."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from model.canceling import cancelable
from model.compiled import Floats
from model.frames import even_frames
from model.registration.planes import (
    FEWEST,
    NOISY,
    SAMPLE,
    Plane,
    as_noisy,
    best_plane,
    compared,
    noise,
    on_any,
    settled,
)

FRAMES = 8  # looked at
MANY = 200_000  # points of them by which a plane is judged: few may be others
MOST = 6  # planes: a floor, a ceiling and walls
THICKNESS, NOISIEST = 0.01, 0.06  # of a frame's size, usually and at most
PARALLEL = 0.9  # cosine of the angle between planes that are not floor and wall, or two walls in a corner
BOARD = 0.1  # of a frame's size: parallel planes closer than that are the sides of a board, or noise
MEETS = 0.05  # of a frame's size, within which walls reach floor and other walls
LEAST_SHARE = 0.2  # of the points that larger planes leave, in every frame looked at
ONE_SIDE = 0.97  # of the other points; stray ones lie anywhere
BEHIND = 0.35  # times the plane's points that may be close behind it, fewer of them further away
STRAY = 0.03  # times the plane's points that stray ones are
WIDER = 1.5  # area of the plane's points to that of the others
VAST = 20.0  # the same, of no part of a thing, however little of the plane a camera sees
GLIDES = 0.2  # of a plane's extent, by which its middle moves if it is no floor
BEYOND, MOST_BEYOND = 0.03, 0.3  # share of the others that reach beyond the plane, times how much wider it is
FUZZY = 2.0  # times the usual thickness, that much noise makes of a plane
# What a camera sees of a body is no plane: more than that share of its points is beside it, or less than that
# share of all is left, and it is not so much wider than these.
RELIEF, LEFT, MUCH_WIDER = 0.06, 0.1, 6.0


def find_room(frames: Sequence[Floats], steadied: bool = False) -> list[Plane]:
    """The planes under and behind what clouds [N_t, 3] show, none where there is none beyond doubt.

    Beyond doubt is a plane that stands still, holds a share of the points of each frame, has all others on
    one side and reaches beyond what no plane holds all around, or is vast. The top of a table, a board or a
    box is none of that. Of walls a camera may see less: the last is not asked of those that meet a plane
    beyond doubt. Of two or more, a camera that moves may see another part in each of the frames, if they were
    `steadied`.
    """
    rng = np.random.default_rng(0)
    picked = even_frames(len(frames), FRAMES)
    some = [rng.permutation(len(frames[i]))[: MANY // len(picked)] for i in picked]
    clouds = [np.asarray(frames[i][rows], np.float64) for i, rows in zip(picked, some, strict=True)]
    pooled = np.concatenate(clouds)  # [M, 3]
    if len(pooled) < FEWEST:
        return []
    # Not that of all frames: what walks a long way leaves a trail, as flat as a wall for its length.
    extents = [np.ptp(np.percentile(cloud, [1, 99], axis=0), axis=0) for cloud in clouds if len(cloud)]
    size = float(np.median([extent.max() for extent in extents]))
    planes: list[Plane] = []
    doubted: list[Plane] = []  # so noisy that what one camera sees of a body may be such a plane
    for _ in cancelable(range(MOST)):
        left = [cloud[~on_any(planes, cloud)][: SAMPLE // len(picked)] for cloud in clouds]
        if sum(map(len, left)) < FEWEST:
            break
        plane = best_plane(np.concatenate(left), THICKNESS * size, rng)
        if plane is None:
            break
        noisy = not _on_one_side(pooled, plane)
        if noisy:
            plane = as_noisy(plane, pooled, NOISIEST * size)
            if not _on_one_side(pooled, plane):
                break
        if min(plane.holds(cloud).mean() if len(cloud) else 0.0 for cloud in left) < LEAST_SHARE:
            break
        if any(_one_board(plane, other, pooled, BOARD * size) for other in planes):
            break
        if not steadied and _glides(plane, [frames[i] for i in picked]):
            break
        # A wall far from a camera may be noisier than others, which its empty side shows.
        fuzzy = noise(replace(plane, thickness=FUZZY * THICKNESS * size), pooled)
        planes.append(replace(plane, thickness=max(plane.thickness, min(fuzzy, FUZZY * THICKNESS * size))))
        doubted += planes[-1:] if noisy else []
    planes = [p for p in planes if not _is_relief(p, planes, pooled)]
    found = _certain(planes, doubted, pooled, MEETS * size)
    if steadied and len(found) == 1 and not _glides(found[0], [frames[i] for i in picked]):
        return []
    return [as_noisy(plane, pooled, NOISIEST * size) for plane in found]


def _certain(planes: list[Plane], doubted: list[Plane], points: Floats, gap: float) -> list[Plane]:
    """Those of the planes through points [M, 3] that are beyond doubt, others left out one by one."""
    largest = planes[0] if planes else None
    while planes:
        *before, last = planes
        others = points[~on_any(planes, points, NOISY)]
        if _is_all(last, before, points, others):
            planes = before
            continue
        certain = [p for p in planes if _surrounds(p, points, others, p is largest, p in doubted)]
        for _ in planes:  # a ceiling may meet walls only
            certain += [p for p in planes if p not in certain and _meets(p, certain, points, gap)]
        if len(certain) == len(planes):
            break
        planes = [p for p in planes if p in certain]
    return planes


def _one_board(plane: Plane, other: Plane, points: Floats, gap: float) -> bool:
    """Whether two planes are parallel and closer than `gap`, told from the points [M, 3] of the first."""
    parallel = abs(plane.normal @ other.normal) > PARALLEL
    return bool(parallel and np.median(np.abs(other.heights(points[plane.holds(points)]))) < gap)


def _meets(plane: Plane, others: Sequence[Plane], points: Floats, gap: float) -> bool:
    """Whether what a plane holds of the points [M, 3] reaches one of the others."""
    held = points[plane.holds(points)]
    return any(np.quantile(np.abs(other.heights(held)), 1 - ONE_SIDE) < gap for other in others)


def _glides(plane: Plane, clouds: Sequence[Floats]) -> bool:
    """Whether what a plane holds of each cloud [N_t, 3] moves along it, as a board does.

    Of a plane that sways, one place would hold another strip in each frame.
    """
    across = plane.across
    swaying = [settled([plane], cloud)[0].holds(cloud) for cloud in clouds]
    held = [cloud[holds] @ across.T for cloud, holds in zip(clouds, swaying, strict=True)]  # [N_t, 2] each
    ends = np.stack([np.percentile(places, [5, 95], axis=0) for places in held])  # [T, 2, 2]
    middles, extents = ends.mean(axis=1), np.ptp(ends, axis=1)  # [T, 2] each
    return bool((np.ptp(middles, axis=0) > GLIDES * np.median(extents, axis=0)).any())


def _on_one_side(points: Floats, plane: Plane) -> bool:
    """Whether the points [M, 3] that a plane does not hold are on one side of it.

    Close behind it may be noise, but not as many as the other side of a board has.
    """
    heights = plane.heights(points)
    others = heights[np.abs(heights) >= NOISY * plane.thickness]
    if len(others) < FEWEST or max((others > 0).mean(), (others < 0).mean()) < ONE_SIDE:
        return False
    behind = -heights if others.mean() > 0 else heights
    ends = np.array([-1.0, 1.0, (1 + NOISY) / 2, NOISY]) * plane.thickness
    held, close, far = np.histogram(behind, ends)[0]
    return bool(close + far < BEHIND * held and (far < close / 2 or far < STRAY * held))


def _is_relief(plane: Plane, planes: Sequence[Plane], points: Floats) -> bool:
    """Whether the points [M, 3] that no other plane holds go on where a plane ends, as a body's front does.

    What noise puts beside a plane is as much on both sides, and what stands on it is in few places.
    """
    own = points[~on_any([p for p in planes if p is not plane], points, NOISY)]
    heights = plane.heights(own) / plane.thickness
    behind, held, before = np.histogram(heights, [-NOISY, -1, 1, NOISY])[0]
    if abs(before - behind) <= RELIEF * held:
        return False
    beside = (np.abs(heights) > 1) & (np.abs(heights) < NOISY) & ((heights > 0) == (before > behind))
    return compared(plane, points, own[beside])[0] < MUCH_WIDER


def _is_all(plane: Plane, planes: Sequence[Plane], points: Floats, others: Floats) -> bool:
    """Whether a plane leaves next to nothing, `others` [B, 3], of the points [M, 3] that `planes` leave."""
    left = len(points) - on_any(planes, points, NOISY).sum()
    if len(others) > max(FEWEST, LEFT * left):
        return False
    return len(others) < FEWEST or compared(plane, points, others)[0] < MUCH_WIDER


def _surrounds(plane: Plane, points: Floats, others: Floats, largest: bool, doubted: bool) -> bool:
    """Whether what a plane holds of points [M, 3] reaches beyond `others` [B, 3] on all sides, and well.

    The wider the plane, the more of them may be beyond what was seen of it, as of what stands near a camera:
    all if it is the largest of the planes.
    """
    wider, beyond = compared(plane, points, others)
    around = wider > WIDER and beyond < min(BEYOND * wider, MOST_BEYOND)
    return (largest and wider > VAST) or (around and (wider > VAST or not doubted))
