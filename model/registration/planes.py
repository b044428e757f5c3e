"""Planes through clouds: found by RANSAC, as thick as their points scatter, and compared with the others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from model.compiled import Floats

TRIES = 300
SAMPLE = 4000  # points in which a plane is sought
FEWEST = 16  # points that tell anything
NOISY = 3.0  # times their thickness: within it points may be stray ones of planes
TRIMMED = 0.9  # of the others: the rest may be stray points
ALMOST_ALL = 0.995  # of a plane's points
# A noisier plane is known by how its points fall off, as those of a normal distribution do: shares of them
# within half a standard deviation and beyond two. It is `REACH` of these thick.
BELL, WITHIN, BEYOND_TWO, REACH = 0.683, (0.3, 0.5), (0.015, 0.1), 3.4


@dataclass(frozen=True, eq=False)
class Plane:
    """Points x with |normal · x - offset| below `thickness`."""

    normal: Floats  # [3]
    offset: float
    thickness: float

    @property
    def across(self) -> Floats:
        """Two directions in the plane, at right angles: [2, 3]."""
        return np.asarray(np.linalg.svd(self.normal[None])[2][1:])

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


def best_plane(points: Floats, thickness: float, rng: np.random.Generator) -> Plane | None:
    """The plane near most of the points [N, 3], by RANSAC; none if all are on a line."""
    corners = points[rng.integers(len(points), size=(TRIES, 3))]  # [R, 3, 3]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    corners, normals = corners[length > 0], normals[length > 0] / length[length > 0, None]
    if not len(normals):
        return None
    offsets = np.einsum("ri,ri->r", normals, corners[:, 0])
    heights = normals @ points.T - offsets[:, None]  # [R, M]
    best = np.count_nonzero(np.abs(heights, out=heights) < thickness, axis=1).argmax()
    return fitted(Plane(normals[best], float(offsets[best]), thickness), points)


def fitted(plane: Plane, points: Floats) -> Plane:
    """The plane by least squares through what it holds of the points [N, 3], as thick as it is noisy."""
    thickness = plane.thickness
    for _ in range(2):
        held = points[plane.holds(points)]
        if len(held) < FEWEST:
            break
        center = held.mean(axis=0)
        normal = np.linalg.eigh((held - center).T @ (held - center))[1][:, 0]
        plane = Plane(normal, float(normal @ center), thickness)
    return Plane(plane.normal, plane.offset, min(thickness, max(noise(plane, points), 0.2 * thickness)))


def noise(plane: Plane, points: Floats) -> float:
    """How far points of a plane lie off it, told from those of the points [N, 3] on its empty side."""
    side = _empty_side(plane, points)
    return 1.2 * float(np.quantile(side, ALMOST_ALL)) if len(side) else 0.0


def as_noisy(plane: Plane, points: Floats, most: float) -> Plane:
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


def settled(planes: Sequence[Plane], cloud: Floats) -> list[Plane]:
    """The planes where they are in one frame [N, 3], for a camera in a hand moves a little."""
    some = cloud[np.random.default_rng(0).permutation(len(cloud))[:SAMPLE]]
    return [_settled(plane, some) for plane in planes]


def _settled(plane: Plane, points: Floats) -> Plane:
    wide = Plane(plane.normal, plane.offset, NOISY * plane.thickness)
    if wide.holds(points).sum() < FEWEST:
        return plane
    moved = replace(fitted(wide, points), thickness=plane.thickness)
    moved = replace(fitted(moved, points), thickness=plane.thickness)
    return max(plane, moved, key=lambda other: other.holds(points).sum())


def compared(plane: Plane, points: Floats, others: Floats) -> tuple[float, float]:
    """How much wider what a plane holds of points [M, 3] is than `others` [B, 3], and their share beyond it.

    Areas are those of convex hulls, seen along the normal. 0 and 1 if either are on a line.
    """
    others = others @ plane.across.T
    distance = np.linalg.norm(others - np.median(others, axis=0), axis=1)
    others = others[distance <= np.quantile(distance, TRIMMED)]
    try:
        outer, inner = ConvexHull(points[plane.holds(points)] @ plane.across.T), ConvexHull(others)
    except (QhullError, ValueError):
        return 0.0, 1.0
    inside = others @ outer.equations[:, :2].T + outer.equations[:, 2] <= 0  # [B, E]
    return float(outer.volume / inner.volume), float(1 - inside.all(axis=1).mean())
