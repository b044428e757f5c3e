"""Colors of a surface from the points that were measured on it."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.canceling import cancelable
from model.frames import even_frames

FRAMES = 16  # that are looked at, spread evenly
NEAREST = 4  # points of a frame that color a place


def sample_colors(
    places: Callable[[int], NDArray[np.float64]],
    clouds: Sequence[NDArray[np.floating]],
    colors: Sequence[NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    """sRGB colors [P, 3] of `places`, which are [P, 3] in each frame, by T clouds and their colors [N_t, 3].

    The mean of the nearest points of all frames. A point at distance d has the weight 1 / (d² + s²)², where s
    is the spacing of its cloud, so a frame that does not show a place hardly counts there. Points that are
    not finite color nothing.
    """
    total, weights = np.zeros(3), np.zeros(1)  # [P, 3] and [P, 1], once a frame is added
    for frame in cancelable(even_frames(len(clouds), FRAMES)):
        finite = np.isfinite(clouds[frame]).all(axis=1)
        cloud, shown = np.asarray(clouds[frame], np.float64)[finite], colors[frame][finite]
        tree = cKDTree(cloud)
        spacing = float(np.median(tree.query(cloud, k=[2])[0]))
        count = min(NEAREST, len(cloud))
        distance, index = tree.query(places(int(frame)), k=list(range(1, count + 1)))  # [P, count]
        weight = 1 / (distance**2 + spacing**2 + 1e-300) ** 2
        total = total + np.einsum("pk,pkc->pc", weight, shown[index].astype(np.float64))
        weights = weights + np.sum(weight, axis=1, keepdims=True)
    return np.asarray(np.rint(total / weights), np.uint8)
