"""The floor or wall that a scan brings along: found by RANSAC, and only where there is no doubt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from model.compiled import Floats

TRIES = 300
SAMPLE = 4000  # points looked at, of up to `FRAMES` frames
FRAMES = 8
THICKNESS = 0.01  # of the sample's size
LEAST_SHARE = 0.2  # of the points on the plane, in every frame looked at
ONE_SIDE = 0.97  # of the other points; stray ones lie anywhere
WIDER = 1.5  # area of the plane's points to that of the others, seen along the normal


@dataclass(frozen=True)
class Plane:
    """Points x with |normal · x - offset| below `thickness`."""

    normal: Floats  # [3]
    offset: float
    thickness: float

    def heights(self, points: Floats) -> Floats:
        return np.asarray(points @ self.normal - self.offset)

    def holds(self, points: Floats) -> NDArray[np.bool_]:
        return np.abs(self.heights(points)) < self.thickness


def find_floor(frames: Sequence[Floats]) -> Plane | None:
    """The plane under (or behind) what clouds [N_t, 3] show, None where there is none beyond doubt.

    Beyond doubt is a plane that stands still, holds a share of the points of each frame, has all others on
    one side and reaches beyond them all around. The top of a table, a board or a box is none of that.
    """
    rng = np.random.default_rng(0)
    picked = np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int))
    each = SAMPLE // len(picked)
    clouds = [np.asarray(frames[i], np.float64)[rng.permutation(len(frames[i]))[:each]] for i in picked]
    pooled = np.concatenate(clouds)  # [M, 3]
    low, high = np.percentile(pooled, [1, 99], axis=0)
    plane = _best_plane(pooled, THICKNESS * float((high - low).max()), rng)
    if plane is None or min(plane.holds(cloud).mean() for cloud in clouds) < LEAST_SHARE:
        return None
    on = plane.holds(pooled)
    heights = plane.heights(pooled[~on])
    if len(heights) < 16 or max((heights > 0).mean(), (heights < 0).mean()) < ONE_SIDE:
        return None
    across = np.linalg.svd(plane.normal[None])[2][1:]  # [2, 3], directions in the plane
    floor, others = pooled[on] @ across.T, pooled[~on] @ across.T
    return plane if _surrounds(floor, others) else None


def _best_plane(points: Floats, thickness: float, rng: np.random.Generator) -> Plane | None:
    corners = points[rng.integers(len(points), size=(TRIES, 3))]  # [R, 3, 3]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    corners, normals = corners[length > 0], normals[length > 0] / length[length > 0, None]
    if not len(normals):
        return None
    offsets = np.einsum("ri,ri->r", normals, corners[:, 0])
    near = np.abs(points @ normals.T - offsets) < thickness  # [M, R]
    held = points[near[:, near.sum(axis=0).argmax()]]
    for _ in range(2):  # least squares through what it holds
        center = held.mean(axis=0)
        normal = np.linalg.svd(held - center, full_matrices=False)[2][-1]
        plane = Plane(normal, float(normal @ center), thickness)
        held = points[plane.holds(points)]
    spread = 1.4826 * float(np.median(np.abs(plane.heights(held))))
    return Plane(plane.normal, plane.offset, min(thickness, max(4 * spread, 0.2 * thickness)))


def _surrounds(floor: Floats, others: Floats) -> bool:
    """Whether points [A, 2] reach beyond [B, 2] on all sides, and well."""
    try:
        outer, inner = ConvexHull(floor), ConvexHull(others)
    except QhullError:  # on a line
        return False
    inside = others @ outer.equations[:, :2].T + outer.equations[:, 2] <= 0  # [B, E]
    return bool(outer.volume > WIDER * inner.volume and inside.all(axis=1).mean() > ONE_SIDE)
