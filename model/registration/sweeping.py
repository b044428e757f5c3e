"""All frames together: each is fitted again between its neighbors in time, with a stiffness learned from all.

Block coordinate descent on the joint energy of data, stiffness and acceleration: linear in the number of
frames. Parts of the sequence are improved side by side, each from what the others were before.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from model.canceling import cancelable
from model.compiled import Ints
from model.registration.clouds import Cloud
from model.registration.fitting import Level, Prior, Stage, fit, sparseness, suited
from model.registration.graph import Motion
from model.registration.motions import between, take
from model.registration.parallel import side_by_side
from model.registration.registering import NEAR, Start, energies_of, energy, register
from model.registration.template import Template

LAST = (Stage(0.6, 0.03, 0.1, 4),)
STIFFER = 0.75  # power of the sparseness of a cloud by which a sweep is stiffer
STEADY, SLACK = 0.02, 0.008  # weight of the acceleration, and how much of it passes for noise
LEAST = 4  # frames of a part, unless it is half of all
SUSPECT = 1.3  # energy over the median from which a frame is tried from other starts


def sweep(
    template: Template,
    clouds: Sequence[Cloud],
    motions: Sequence[Motion],
    complete: bool,
    backwards: bool,
    report: Callable[[float], None],
    cuts: Sequence[int] = (),
    from_neighbors: bool = True,
    lapses: Ints | None = None,
) -> list[Motion]:
    """One pass over the frames, the motions better; nothing is smoothed over `cuts`, where takes begin.

    `lapses` [T - 1] are the usual steps of time between the frames, 1 by default.
    With `from_neighbors` each frame is also tried from the motion of the one before.
    """
    level = learned(template.level, motions)
    result = list(motions)
    backend = level.backend
    energies = energies_of(level, clouds, motions, complete)
    usual = float(np.median(energies))
    places = np.arange(len(clouds)) if lapses is None else np.concatenate([[0], np.cumsum(lapses)])
    done: list[int] = []

    def improve(part: range) -> None:
        known = list(motions)  # what other parts find meanwhile would come by chance
        for t in reversed(part) if backwards else part:
            known[t] = result[t] = better(t, known)
            done.append(t)
            report(len(done) / len(clouds))

    def better(t: int, known: list[Motion]) -> Motion:
        begin, end = take(t, len(known), cuts)
        expected = expect(known[begin:end], t - begin, places[begin:end])
        prior = None if expected is None else _steady(expected, clouds[t])
        through = stages(clouds[t])
        order = (t + 1, t - 1) if backwards else (t - 1, t + 1)  # the one that was just improved first
        near = [known[i] for i in order if begin <= i < end]
        # From a neighbor a limb that was lost or turned round is found again, frame by frame. What one camera
        # sees does not tell which of two motions is the right one.
        starts = [known[t], *near[: int(complete and from_neighbors)]]
        if energies[t] > SUSPECT * usual:
            others = near if expected is None else [expected, *near]
            starts = [known[t], *others]
            if others:
                starts.append(register(template, clouds[t], [Start(others[0], True)], complete).motion)
        tried = [fit(level, clouds[t], s, through, complete, prior=prior) for s in starts]
        stiff = weight_of_bends(clouds[t])
        costs = [energy(level, clouds[t], m, complete, prior, stiff) for m in tried]
        return tried[int(np.argmin(costs))]

    count = max(2, min(backend.parts, len(clouds) // LEAST))
    bounds = [len(clouds) * n // count for n in range(count + 1)]
    side_by_side(improve, [range(*ends) for ends in pairwise(bounds)], backend.threads)
    return result


def stages(cloud: Cloud) -> list[Stage]:
    """Those of a sweep, stiffer where points are few: between them a surface slides where it likes."""
    return [stage._replace(stiffness=stage.stiffness * sparseness(cloud) ** STIFFER) for stage in LAST]


def weight_of_bends(cloud: Cloud) -> float:
    """What bent edges weigh where the motions found are compared: in proportion to `stages`."""
    return NEAR[-1].stiffness / LAST[-1].stiffness * suited(stages(cloud)[-1], cloud).stiffness


def _steady(expected: Motion, cloud: Cloud) -> Prior:
    """Near the expected motion, the more so the fewer the points; more than noise costs little more.

    By least squares a motion of few frames a cycle would be averaged away against its points.
    """
    wide = sparseness(cloud)
    return Prior(expected, STEADY * wide / len(expected.positions), SLACK * wide)


def expect(motions: Sequence[Motion], t: int, places: Ints) -> Motion | None:
    """What the neighbors in time say about frame t: on a cubic through four, or on a line through two.

    `places` [T] are the times of the frames in usual steps.
    """
    if 2 <= t < len(motions) - 2:
        near = [t - 2, t - 1, t + 1, t + 2]
    elif 1 <= t < len(motions) - 1:
        near = [t - 1, t + 1]
    else:
        return None
    return between([motions[i] for i in near], lagrange(places[near] - places[t]))


def lagrange(places: Ints) -> list[float]:
    """Weights of values at different `places` that add to the value at 0 of the polynomial through them."""
    others = [np.delete(places, n) for n in range(len(places))]
    return [float(np.prod(rest / (rest - place))) for place, rest in zip(places, others, strict=True)]


def learned(level: Level, motions: Sequence[Motion]) -> Level:
    """The level with edges stiffer that bend in no frame, and softer that bend in some: joints."""
    bent = np.sqrt(np.mean([(level.graph.stretch(m) ** 2).sum(1) for m in cancelable(motions)], axis=0))
    stiff = 1 / (bent + level.yielding)
    return replace(level, rigidity=stiff / stiff.mean())
