"""Metrics of reconstructions by the published protocol; numpy only.

    iou(inside, occupancies)                               # [..., P] twice → [...]
    surface_scores(points, target)                         # [N, 3], [M, 3] → completeness, accuracy, …
    correspondence_l2(vertices, particles)                 # [T, V, 3], [T, M, 3] → [T]

Distances are in the units of the input; published numbers refer to the unit box of the first frame.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

# Scores of an empty surface: the largest distance in the unit box is its diagonal.
WORST_SURFACE = {
    "completeness": 3**0.5,
    "accuracy": 3**0.5,
    "completeness2": 3.0,
    "accuracy2": 3.0,
    "chamfer": 6.0,
}
WORST_NORMALS = {"normals completeness": -1.0, "normals accuracy": -1.0, "normals": -1.0}


def iou(predicted: ArrayLike, true: ArrayLike, threshold: float = 0.5) -> Floats:
    """Intersection over union [...] of two sets of occupancies [..., P], booleans or probabilities.

    `predicted` is inside at `threshold` or above, `true` at 0.5 or above. NaN if both are empty. Raises
    ValueError for different shapes.
    """
    inside, truly = np.asarray(predicted) >= threshold, np.asarray(true) >= 0.5  # [..., P]
    if inside.shape != truly.shape:
        raise ValueError(f"occupancies have shapes {inside.shape} and {truly.shape}; wanted the same")
    union = (inside | truly).sum(axis=-1, dtype=np.float64)
    overlap = (inside & truly).sum(axis=-1)
    return np.asarray(np.divide(overlap, union, out=np.full(union.shape, np.nan), where=union > 0))


def nearest(points: ArrayLike, target: ArrayLike) -> tuple[Floats, Indices]:
    """Distance [N] from points [N, 3] to the nearest of target [M, 3], and its index [N]."""
    distances, indices = cKDTree(np.asarray(target)).query(np.asarray(points))
    return np.asarray(distances, np.float64), np.asarray(indices, np.int64)


def surface_scores(
    points: ArrayLike,
    target: ArrayLike,
    normals: ArrayLike | None = None,
    target_normals: ArrayLike | None = None,
) -> dict[str, float]:
    """Scores of samples [N, 3] of a surface, given samples [M, 3] of the true surface.

    `completeness` is the mean distance from the truth to the nearest sample, `accuracy` that from the samples
    to the truth, `completeness2` and `accuracy2` are mean squared distances and `chamfer` is their sum.
    `normals` is the mean absolute cosine between normals [N, 3] and [M, 3] of nearest points over both
    directions; NaN without normals. Without samples, the worst values possible in the unit box. Raises
    ValueError without true samples.
    """
    points, target = np.asarray(points), np.asarray(target)
    with_normals = normals is not None and target_normals is not None
    if len(target) == 0:
        raise ValueError("the true surface has no points")
    if len(points) == 0:
        return WORST_SURFACE | (WORST_NORMALS if with_normals else {})
    to_points, nearest_point = nearest(target, points)  # [M]
    to_target, nearest_target = nearest(points, target)  # [N]
    completeness2, accuracy2 = float((to_points**2).mean()), float((to_target**2).mean())
    completeness_normals = accuracy_normals = float("nan")
    if normals is not None and target_normals is not None:
        own, true = _unit(normals), _unit(target_normals)
        completeness_normals = float(np.abs((own[nearest_point] * true).sum(axis=1)).mean())
        accuracy_normals = float(np.abs((true[nearest_target] * own).sum(axis=1)).mean())
    return {
        "completeness": float(to_points.mean()),
        "accuracy": float(to_target.mean()),
        "normals completeness": completeness_normals,
        "normals accuracy": accuracy_normals,
        "normals": (completeness_normals + accuracy_normals) / 2,
        "completeness2": completeness2,
        "accuracy2": accuracy2,
        "chamfer": completeness2 + accuracy2,
    }


def chamfer_distance(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats, Indices, Indices]:
    """Mean squared distances [B] from point sets a [B, N, 3] to b [B, M, 3] and from b to a, whose sum is the
    Chamfer distance, and the indices of the nearest points: [B, N] in b, [B, M] in a.
    """
    forward = [nearest(one, other) for one, other in zip(np.asarray(a), np.asarray(b), strict=True)]
    back = [nearest(other, one) for one, other in zip(np.asarray(a), np.asarray(b), strict=True)]
    means = [np.array([(distances**2).mean() for distances, _ in direction]) for direction in (forward, back)]
    indices = [np.stack([indices for _, indices in direction]) for direction in (forward, back)]
    return means[0], means[1], indices[0], indices[1]


def correspondence_l2(moved: ArrayLike, particles: ArrayLike, project_last: bool = False) -> Floats:
    """Mean distance [T] between tracked points [T, V, 3] and their true particles.

    Each point is assigned to the nearest of `particles` [T, M, 3] in frame 0. With `project_last`, points of
    the last frame are first projected to the nearest particle, which removes their distance from the surface.
    Raises ValueError for different numbers of frames.
    """
    moved, particles = np.asarray(moved), np.asarray(particles)
    if len(moved) != len(particles):
        raise ValueError(f"there are {len(moved)} predicted and {len(particles)} true frames; wanted as many")
    _, assigned = nearest(moved[0], particles[0])  # [V]
    distances = np.linalg.norm(moved - particles[:, assigned], axis=-1).mean(axis=-1)  # [T]
    if project_last:
        _, on_surface = nearest(moved[-1], particles[-1])  # [V]
        offsets = particles[-1][on_surface] - particles[-1][assigned]
        distances[-1] = np.linalg.norm(offsets, axis=-1).mean()
    return np.asarray(distances, dtype=np.float64)


def _unit(vectors: ArrayLike) -> Floats:
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))
