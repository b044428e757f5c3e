"""The floor and walls that a scan brings along: found by RANSAC, and only where there is no doubt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from model.canceling import cancelable
from model.compiled import Floats
from model.frames import even_frames

TRIES = 300
SAMPLE = 4000  # points in which a plane is sought, of up to `FRAMES` frames
MANY = 200_000  # points by which it is judged: few of them may be others
FRAMES = 8
MOST = 6  # planes: a floor, a ceiling and walls
THICKNESS = 0.01  # of a frame's size
PARALLEL = 0.9  # cosine of the angle between planes that are not floor and wall, or two walls in a corner
BOARD = 0.1  # of a frame's size: parallel planes closer than that are the sides of a board, or noise
MEETS = 0.05  # of a frame's size, within which walls reach floor and other walls
LEAST_SHARE = 0.2  # of the points that larger planes leave, in every frame looked at
ONE_SIDE = 0.97  # of the other points; stray ones lie anywhere
BEHIND = 0.35  # times the plane's points that may be close behind it, fewer of them further away
STRAY = 0.03  # times the plane's points that stray ones are
WIDER = 1.5  # area of the plane's points to that of the others, seen along the normal
GLIDES = 0.2  # of a plane's extent, by which its middle moves if it is no floor
TRIMMED = 0.9  # of the others: the rest may be stray points
BEYOND, MOST_BEYOND = 0.02, 0.3  # share of the others that reach beyond the plane, times how much wider it is
ALMOST_ALL = 0.995  # of a plane's points
FUZZY = 2.0  # times the usual thickness, that much noise makes of a plane
# A noisier plane is known by how its points fall off, as those of a normal distribution do: shares of them
# within half a standard deviation and beyond two. It is `REACH` of these thick, up to that share of the size.
BELL, WITHIN, BEYOND_TWO, REACH, NOISIEST = 0.683, (0.3, 0.5), (0.015, 0.1), 3.4, 0.06
NOISY = 3.0  # times their thickness: within it points may be stray ones of planes
FEWEST = 16  # points that planes leave


@dataclass(frozen=True, eq=False)
class Plane:
    """Points x with |normal · x - offset| below `thickness`."""

    normal: Floats  # [3]
    offset: float
    thickness: float

    def heights(self, points: Floats) -> Floats:
        return np.asarray(points @ self.normal - self.offset)

    def holds(self, points: Floats, margin: float = 1.0) -> NDArray[np.bool_]:
        return np.abs(self.heights(points)) < margin * self.thickness


def on_any(planes: Sequence[Plane], points: Floats, margin: float = 1.0) -> NDArray[np.bool_]:
    """Which of the points [N, 3] a plane holds, or lie within that many times its thickness."""
    held = np.zeros(len(points), bool)
    for plane in planes:
        held |= plane.holds(points, margin)
    return held


def find_room(frames: Sequence[Floats]) -> list[Plane]:
    """The planes under and behind what clouds [N_t, 3] show, none where there is none beyond doubt.

    Beyond doubt is a plane that stands still, holds a share of the points of each frame, has all others on
    one side and reaches beyond what no plane holds all around. The top of a table, a board or a box is none
    of that. Of walls a camera may see less: the last is not asked of those that meet a plane beyond doubt, as
    walls of much noise have to.
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
        plane = _best_plane(np.concatenate(left), THICKNESS * size, rng)
        if plane is None:
            break
        noisy = not _on_one_side(pooled, plane)
        if noisy:
            plane = _as_noisy(plane, pooled, NOISIEST * size)
            if not _on_one_side(pooled, plane):
                break
        if min(plane.holds(cloud).mean() if len(cloud) else 0.0 for cloud in left) < LEAST_SHARE:
            break
        if any(_one_board(plane, other, pooled, BOARD * size) for other in planes):
            break
        if _glides(plane, [frames[i] for i in picked]):
            break
        # A wall far from a camera may be noisier than others, which its empty side shows.
        fuzzy = _noise(replace(plane, thickness=FUZZY * THICKNESS * size), pooled)
        planes.append(replace(plane, thickness=max(plane.thickness, min(fuzzy, FUZZY * THICKNESS * size))))
        doubted += planes[-1:] if noisy else []
    while planes:
        others = pooled[~on_any(planes, pooled, NOISY)]
        certain = [p for p in planes if p not in doubted and _surrounds(p, pooled, others)]
        for _ in planes:  # a ceiling may meet walls only
            certain += [p for p in planes if p not in certain and _meets(p, certain, pooled, MEETS * size)]
        if len(certain) == len(planes):
            break
        planes = certain
    return [_as_noisy(plane, pooled, NOISIEST * size) for plane in planes]


def settled(planes: Sequence[Plane], cloud: Floats) -> list[Plane]:
    """The planes where they are in one frame [N, 3], for a camera in a hand moves a little."""
    some = cloud[np.random.default_rng(0).permutation(len(cloud))[:SAMPLE]]
    return [_settled(plane, some) for plane in planes]


def _settled(plane: Plane, points: Floats) -> Plane:
    wide = Plane(plane.normal, plane.offset, NOISY * plane.thickness)
    if wide.holds(points).sum() < FEWEST:
        return plane
    moved = replace(_fitted(wide, points), thickness=plane.thickness)
    moved = replace(_fitted(moved, points), thickness=plane.thickness)
    return max(plane, moved, key=lambda other: other.holds(points).sum())


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
    across = np.linalg.svd(plane.normal[None])[2][1:]  # [2, 3], directions in the plane
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


def _best_plane(points: Floats, thickness: float, rng: np.random.Generator) -> Plane | None:
    corners = points[rng.integers(len(points), size=(TRIES, 3))]  # [R, 3, 3]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    corners, normals = corners[length > 0], normals[length > 0] / length[length > 0, None]
    if not len(normals):
        return None
    offsets = np.einsum("ri,ri->r", normals, corners[:, 0])
    heights = normals @ points.T - offsets[:, None]  # [R, M]
    best = np.count_nonzero(np.abs(heights, out=heights) < thickness, axis=1).argmax()
    return _fitted(Plane(normals[best], float(offsets[best]), thickness), points)


def _fitted(plane: Plane, points: Floats) -> Plane:
    """The plane by least squares through what it holds of the points [N, 3], as thick as it is noisy."""
    thickness = plane.thickness
    for _ in range(2):
        held = points[plane.holds(points)]
        if len(held) < FEWEST:
            break
        center = held.mean(axis=0)
        normal = np.linalg.eigh((held - center).T @ (held - center))[1][:, 0]
        plane = Plane(normal, float(normal @ center), thickness)
    return Plane(plane.normal, plane.offset, min(thickness, max(_noise(plane, points), 0.2 * thickness)))


def _noise(plane: Plane, points: Floats) -> float:
    """How far points of a plane lie off it, told from those of the points [N, 3] on its empty side."""
    side = _empty_side(plane, points)
    return 1.2 * float(np.quantile(side, ALMOST_ALL)) if len(side) else 0.0


def _as_noisy(plane: Plane, points: Floats, most: float) -> Plane:
    """The plane, thicker where its empty side shows points [N, 3] of much noise, of up to `most`."""
    side = _empty_side(replace(plane, thickness=most), points)
    if len(side) < FEWEST:
        return plane
    deviation = float(np.quantile(side, BELL))
    within, beyond = (side < deviation / 2).mean(), (side > 2 * deviation).mean()
    noise = WITHIN[0] < within < WITHIN[1] and BEYOND_TWO[0] < beyond < BEYOND_TWO[1]
    if not noise or REACH * deviation > most:
        return plane
    return replace(plane, thickness=max(plane.thickness, REACH * deviation))


def _empty_side(plane: Plane, points: Floats) -> Floats:
    """Distances of the points [N, 3] that a plane holds on the side where nothing else is.

    Where nothing is beyond it on either, it is the side that points reach less far.
    """
    heights = plane.heights(points)
    sides = [side[side > 0] for side in (heights, -heights)]
    held = [side[side < plane.thickness] for side in sides]
    reach = [np.quantile(side, ALMOST_ALL) if len(side) else 0.0 for side in held]
    beyond = [len(side) - len(near) for side, near in zip(sides, held, strict=True)]
    return held[int((beyond[1], reach[1]) < (beyond[0], reach[0]))]


def _surrounds(plane: Plane, points: Floats, others: Floats) -> bool:
    """Whether what a plane holds of points [M, 3] reaches beyond `others` [B, 3] on all sides, and well.

    The wider the plane, the more of them may be beyond what was seen of it, as of what stands near a camera.
    """
    across = np.linalg.svd(plane.normal[None])[2][1:]  # [2, 3], directions in the plane
    if not len(others):
        return False
    others = others @ across.T
    distance = np.linalg.norm(others - np.median(others, axis=0), axis=1)
    others = others[distance <= np.quantile(distance, TRIMMED)]
    try:
        outer, inner = ConvexHull(points[plane.holds(points)] @ across.T), ConvexHull(others)
    except (QhullError, ValueError):  # on a line, or none
        return False
    wider = outer.volume / inner.volume
    inside = others @ outer.equations[:, :2].T + outer.equations[:, 2] <= 0  # [B, E]
    return bool(wider > WIDER and 1 - inside.all(axis=1).mean() < min(BEYOND * wider, MOST_BEYOND))
