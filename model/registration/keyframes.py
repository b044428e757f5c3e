"""Which frames to take the template from, and where a sequence jumps."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from model.registration.clouds import Cloud, nearest
from model.registration.kernels import Floats

SPREAD = 6  # neighbors whose distance tells how far apart the points of a frame lie


def candidates(clouds: Sequence[Cloud], count: int) -> list[int]:
    """Up to `count` frames worth a template, the most promising first.

    The frame whose points lie furthest apart comes first: parts that touch elsewhere are separate there. Then
    the first frame, for sequences begin at rest more often than at an extreme. Then frames that look least
    like those chosen.
    """
    apart = [nearest(c.tree, c.points, SPREAD + 1)[0][:, 1:].mean() for c in clouds]
    spread = int(np.argmax(np.asarray(apart) * np.sqrt([len(c.points) for c in clouds])))
    chosen = list(dict.fromkeys([spread, 0]))[:count]
    while len(chosen) < min(count, len(clouds)):
        unlikeness = [min(unlike(c, clouds[k]) for k in chosen) for c in clouds]
        if max(unlikeness) < 1e-9:
            break
        chosen.append(int(np.argmax(unlikeness)))
    return chosen


def unlike(a: Cloud, b: Cloud) -> float:
    """Mean distance of a few points to the other cloud, both ways, after their centroids are put together."""
    shift = b.points.mean(0) - a.points.mean(0)
    there = nearest(b.tree, a.few + shift)[0].mean()
    back = nearest(a.tree, b.few - shift)[0].mean()
    return float(there + back) / 2


def jumps(clouds: Sequence[Cloud]) -> list[int]:
    """Frames at which the motion breaks off, as at a cut: further from the frame before than usual by far."""
    if len(clouds) < 2:
        return []
    steps: Floats = np.array([_step(a, b) for a, b in pairwise(clouds)])
    size = np.median([np.sqrt(((c.points - c.points.mean(0)) ** 2).sum(1).mean()) for c in clouds])
    usual = np.median(steps) if len(steps) > 3 else steps.min()
    return [int(t) + 1 for t in np.flatnonzero((steps > 6 * usual) & (steps > 0.3 * size))]


def _step(a: Cloud, b: Cloud) -> float:
    return float(nearest(b.tree, a.few)[0].mean() + nearest(a.tree, b.few)[0].mean()) / 2
