"""Whether anything moves at all: a sequence of one pose is worth a word to whoever sent it."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from model.canceling import cancelable
from model.compiled import Floats
from model.registration.clouds import nearest

SAMPLE, FRAMES = 1000, 24  # points of a frame, and frames of a longer sequence, that are looked at
STILL = 0.002  # of the size: rows that move less do not move
# Distance to another sample of a surface over that within the sample: 1 on average where it stands still.
SAME_SURFACE = 1.05


def is_still(frames: Sequence[Floats], corresponding: bool) -> bool:
    """Whether all clouds [N_t, 3] show one pose, as far as their sampling tells."""
    rng = np.random.default_rng(0)
    if corresponding:
        rows = rng.permutation(len(frames[0]))[:SAMPLE]
        paths = np.stack([np.asarray(cloud, np.float64)[rows] for cloud in frames])  # [T, n, 3]
        moved = np.median(np.linalg.norm(paths - paths[0], axis=2), axis=1)  # [T]
        return bool(moved.max() < STILL * np.ptp(paths[0], axis=0).max())
    some = [frames[t] for t in np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int))]
    clouds = [np.asarray(cloud, np.float64)[rng.permutation(len(cloud))[:SAMPLE]] for cloud in some]
    return bool(np.mean([_apart(clouds[0], cloud) for cloud in cancelable(clouds[1:])]) < SAME_SURFACE)


def _apart(first: Floats, second: Floats) -> float:
    """Distance between nearest points of two samples over that within them."""
    trees = cKDTree(first), cKDTree(second)
    within = nearest(trees[0], first, 2)[0][:, 1].mean() + nearest(trees[1], second, 2)[0][:, 1].mean()
    across = nearest(trees[1], first)[0].mean() + nearest(trees[0], second)[0].mean()
    return float(across / max(within, np.finfo(np.float64).tiny))
