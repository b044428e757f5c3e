"""Which frames to take the template from, and where a sequence jumps."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from model.canceling import cancelable
from model.compiled import Floats, Ints
from model.registration.clouds import Cloud
from model.registration.parallel import side_by_side

SPREAD = 6  # neighbors whose distance tells how far apart the points of a frame lie
FURTHER = 1.05  # times those of the first frame, from which points lie clearly further apart
CLOSE = 1.03  # times the lowest energy: up to that two templates fit alike
ABOUT = 1.1  # and up to that where energies tell little: points are few, or show one side
# A cut is a step this many times the longest of the steps around it, and longer than `LONGEST` in units of
# the root mean square distance from the centroid; steps shorter than `NOISE` tell nothing, nor do those that
# another draw of the points would make.
CUT, AROUND, LONGEST, NOISE = 2.8, 2, 0.09, 0.03
FEWEST = 0.25  # of the mean number of points, which a frame worth a template has
VARIED = 0.52  # standard deviation over mean of the distance to the nearest of points strewn over a surface


def candidates(clouds: Sequence[Cloud], count: int) -> list[int]:
    """Up to `count` frames worth a template, the most promising first, of those with enough points.

    The frame whose points lie furthest apart comes first: parts that touch elsewhere are separate there. Then
    the first frame, for sequences begin at rest more often than at an extreme. Then frames that look least
    like those chosen.
    """
    sizes = np.array([len(cloud.points) for cloud in clouds])
    frames = np.flatnonzero(sizes >= FEWEST * sizes.mean()).tolist()
    clouds = [clouds[t] for t in frames]
    chosen = list(dict.fromkeys([int(np.argmax(_room(clouds))), 0]))[:count]
    while len(chosen) < min(count, len(clouds)):
        unlikeness = [min(unlike(c, clouds[k]) for k in chosen) for c in cancelable(clouds)]
        if max(unlikeness) < 1e-9:
            break
        chosen.append(int(np.argmax(unlikeness)))
    return [frames[k] for k in chosen]


def single(clouds: Sequence[Cloud]) -> int:
    """The frame for the template where only one is made, of points whose paths are known.

    Where points lie clearly further apart than in the first frame, parts may touch in that one. Else it is
    the first: its surface is what is carried to the other frames, so that no place of it is mistaken for
    another one that lies near it there.
    """
    room = _room(clouds)
    return int(np.argmax(room)) if room.max() > FURTHER * room[0] else 0


def _room(clouds: Sequence[Cloud]) -> Floats:
    """How far apart the points of each cloud lie: [T], the same for any number of points."""
    apart = side_by_side(lambda c: c.nearest(c.points, SPREAD + 1)[0][:, 1:].mean(), clouds)
    return np.asarray(apart) * np.sqrt([len(c.points) for c in clouds])


def preferred(keys: Sequence[int], energies: Sequence[float], usual: int, close: float = CLOSE) -> int:
    """Which of the templates of `keys` to use: that of frame `usual` unless another fits clearly better."""
    best = int(np.argmin(energies))
    if usual in keys and energies[keys.index(usual)] <= close * energies[best]:
        return keys.index(usual)
    return best


def unlike(a: Cloud, b: Cloud) -> float:
    """Mean distance of a few points to the other cloud, both ways, after their centroids are put together."""
    shift = b.points.mean(0) - a.points.mean(0)
    there = b.nearest(a.few + shift)[0].mean()
    back = a.nearest(b.few - shift)[0].mean()
    return float(there + back) / 2


def jumps(clouds: Sequence[Cloud], lapses: Ints | None = None) -> list[int]:
    """Frames at which the motion breaks off, as at a cut: one step by far longer than those around it.

    `lapses` [T - 1] are the usual steps of time that each step takes, 1 by default.
    On drawn bodies and solids continuous motion, slow or fast, stays under 2.1 times the longest step nearby;
    a cut to somebody else in another pose is 3 times and more in most cases.
    """
    found = np.array([_step(a, b) for a, b in cancelable(pairwise(clouds))]).reshape(-1, 2)
    return _longest(found[:, 0], found[:, 1], [cloud.points for cloud in clouds], lapses)


def jumps_along(paths: Floats, lapses: Ints | None = None) -> list[int]:
    """As `jumps`, of particles whose paths [T, N, 3] are known: by how far half of them go at least.

    Clouds do not tell steps shorter than the distance between points that go along, as those on a lattice
    do. Continuous motion of drawn bodies stays under 2.3 times the longest step nearby.
    """
    steps = np.array([np.median(np.linalg.norm(b - a, axis=1)) for a, b in cancelable(pairwise(paths))])
    return _longest(steps, np.zeros(len(steps)), paths, lapses)


def _longest(
    steps: Floats, noise: Floats, frames: Sequence[Floats] | Floats, lapses: Ints | None
) -> list[int]:
    """The frames [N_t, 3] before which a step of `steps` [T - 1] is by far longer than those around it."""
    size = np.median([np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()) for points in frames])
    steps, noise = steps / (size if lapses is None else size * lapses), noise / size
    cuts = []
    for t, step in enumerate(steps):
        around = [*steps[max(0, t - AROUND) : t], *steps[t + 1 : t + 1 + AROUND]]
        if len(around) > 1 and step > LONGEST and step > CUT * max(*around, NOISE, noise[t]):
            cuts.append(t + 1)
    return cuts


def _step(a: Cloud, b: Cloud) -> tuple[float, float]:
    """Mean distance between the clouds, less what lies between two samples of one surface, and its noise.

    The latter is the step of two samples whose distance is a standard deviation too large.
    """
    distance = (b.nearest(a.few)[0].mean() + a.nearest(b.few)[0].mean()) / 2
    spacing = (a.spacing + b.spacing) / 2
    between, within = len(a.few) + len(b.few), len(a.points) + len(b.points)
    deviation = VARIED * np.sqrt(1 / between + 1 / within)  # of the one over the other
    return float(np.sqrt(max(distance**2 - spacing**2, 0.0))), float(spacing * np.sqrt(2 * deviation))
