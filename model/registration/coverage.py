"""Whether clouds show a thing from all around, or only what one camera sees of it."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from model.canceling import cancelable
from model.compiled import Floats
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
TELLING = 300  # points of a cloud from which this can be told; fewer hide each other too little


def is_one_sided(clouds: Sequence[Floats]) -> bool:
    """Whether some direction shows nearly all points of clouds [N_t, 3], in most frames looked at."""
    rng = np.random.default_rng(0)
    picked = even_frames(len(clouds), FRAMES)
    some = [np.asarray(clouds[frame], np.float64) for frame in picked]
    some = [cloud[rng.permutation(len(cloud))[:POINTS]] for cloud in some]
    shares = side_by_side(_largest_share, some[:2])
    if len(some) > 2 and (shares[0] > ONE_SIDED) != (shares[1] > ONE_SIDED):  # two that agree decide
        shares.append(_largest_share(some[2]))
    return bool(np.median(shares) > ONE_SIDED)


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
