"""Whether clouds show a thing from all around, or only what one camera sees of it."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from model.canceling import cancelable
from model.cells import nearest_in_cells, sort_into_cells
from model.compiled import Floats, Ints
from model.frames import even_frames
from model.meshes.directions import spread
from model.registration.parallel import side_by_side

FRAMES = 3
POINTS = 500
DIRECTIONS = 24
EYE = 5.0  # distance of the eye, in radii of the cloud
SPHERE = 100.0  # radius of the sphere that points are flipped at, in distances of the furthest point
# Share of `POINTS` points that one eye sees; half of them where a thing is seen from all around. Few points
# hide each other less: where there are none it is `FEWER` more.
ONE_SIDED, FEWER = 0.68, 0.1
# Noise hides which points are in front. Where they are `ROUGH`, the means of each point and those around it
# show more of that; fewer than `POINTS` points are too far apart for means.
MEANS, LEAST_AROUND, MOST_AROUND = 1500, 12, 24
ROUGH, ONE_SIDED_MEANS = 0.5, 0.67
PATCH = 9  # points around one that show how rough a surface is
TELLING = 300  # points of a cloud from which this can be told; fewer hide each other too little


def is_one_sided(clouds: Sequence[Floats]) -> bool:
    """Whether some direction shows nearly all points of clouds [N_t, 3], in most frames looked at."""
    rng = np.random.default_rng(0)
    picked = even_frames(len(clouds), FRAMES)
    some = [np.asarray(clouds[frame], np.float64) for frame in picked]
    some = [cloud[rng.permutation(len(cloud))[:MEANS]] for cloud in some]
    found = side_by_side(_shows_one_side, some[:2])
    if len(some) > 2 and found[0] != found[1]:  # two that agree decide
        found.append(_shows_one_side(some[2]))
    return bool(np.mean(found) > 0.5)


def roughness(cloud: Floats) -> float:
    """How far points lie off the plane of those around them, as a share of how far along it: the median.

    Of a cloud [N, 3] at most `MEANS` points are used, for the same noise is rougher the closer points are.
    """
    cloud = cloud[np.random.default_rng(0).permutation(len(cloud))[:MEANS]]
    patches = cloud[_around(cloud, PATCH)]  # [N, K, 3]
    widths = np.linalg.svd(patches - patches.mean(axis=1, keepdims=True), compute_uv=False)  # [N, 3]
    return float(np.median(widths[:, 2] / np.maximum(widths[:, 1], np.finfo(np.float64).tiny)))


def _shows_one_side(cloud: Floats) -> bool:
    if _largest_share(cloud[:POINTS]) > ONE_SIDED:
        return True
    if len(cloud) < POINTS or roughness(cloud) < ROUGH:
        return False
    around = int(np.clip(MOST_AROUND * len(cloud) / MEANS, LEAST_AROUND, MOST_AROUND))
    return _largest_share(cloud[_around(cloud, around)].mean(axis=1)[:POINTS]) > ONE_SIDED_MEANS


def _around(cloud: Floats, count: int) -> Ints:
    """Rows [N, count] of the points nearest to each of the points [N, 3], itself first."""
    return nearest_in_cells(sort_into_cells(cloud), cloud, min(count, len(cloud)), np.inf)[1]


def _largest_share(cloud: Floats) -> float:
    """The share of the points [N, 3] that some eye sees, less what it is more where there are few."""
    few = FEWER * (1 - len(cloud) / POINTS)
    return max(visible_share(cloud, direction) for direction in cancelable(spread(DIRECTIONS))) - few


def visible_share(cloud: Floats, direction: Floats) -> float:
    """Share of the points [N, 3] that an eye far away in a direction [3] sees.

    Hidden point removal (Katz, Tal and Basri, "Direct visibility of point sets", 2007): points flipped at a
    large sphere about the eye are visible where they lie on the convex hull.
    """
    centered = cloud - (cloud.min(axis=0) + cloud.max(axis=0)) / 2
    offset = centered / np.linalg.norm(centered, axis=1).max() - EYE * direction
    length = np.linalg.norm(offset, axis=1, keepdims=True)
    flipped = offset * (2 * SPHERE * length.max() / length - 1)
    try:
        hull = ConvexHull(np.concatenate([flipped, np.zeros((1, 3))]))
    except QhullError:  # flat, seen edge-on
        return 0.0
    return (len(hull.vertices) - 1) / len(cloud)
