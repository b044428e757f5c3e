"""From a keyframe through the sequence, both ways, each frame from the motion before it."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np

from model.canceling import cancelable
from model.cells import nearest_in_cells, sort_into_cells
from model.compiled import Floats
from model.registration.clouds import Cloud
from model.registration.fitting import Stage, fit
from model.registration.graph import Motion
from model.registration.motions import extrapolate
from model.registration.parallel import side_by_side
from model.registration.pull import GATHERED
from model.registration.registering import NEAR, Start, energy, matched, register
from model.registration.stillness import stays
from model.registration.template import Template

USUAL = 1.2  # energy over the median so far from which other starts are tried
NEARBY = 2.0  # times that the energy may be where nothing has moved yet, for a small step
STILL = 1.2  # mean square of the distances across the surface, over what noise explains, from which it moves
STARTS = 3  # guesses of the motion of a frame that are tried, at most
LEAP = 0.3  # step of the centroid, beyond which the last step says nothing
FREEDOM = 150  # parameters of a graph that a cloud determines
Match = Callable[[int, int, Floats], tuple[Floats, Floats]]


class Followed(NamedTuple):
    """The motion in every frame and its energy, infinite in frames that were given up."""

    motions: list[Motion]
    energies: list[float]

    @property
    def energy(self) -> float:
        return sum(self.energies)


def never(energy: float) -> bool:  # noqa: ARG001
    return False


def follow(
    template: Template,
    clouds: Sequence[Cloud],
    key: int,
    complete: bool,
    match: Match | None,
    report: Callable[[float], None],
    starts: int = STARTS,
    cuts: Sequence[int] = (),
    is_lost: Callable[[float], bool] = never,
    stages: Sequence[Stage] = NEAR,
    threads: int | None = None,
) -> Followed:
    """The motion in every frame of a template taken from frame `key`; one object where nothing moves.

    At most `starts` guesses of a motion are tried, and before a match in small steps one more; a match is
    asked for where the first ones, that the motion goes on or has stopped, are not enough. No speed is
    carried over `cuts`, frames where takes begin. `is_lost` is asked after every frame, with the energy so
    far, whether to give up. Frames are fitted through `stages`, on at most `threads`.
    """
    still = template.level.graph.still()
    first = fit(template.level, clouds[key], still, NEAR[-1:], complete)
    motions = [first] * len(clouds)
    if stands_still(template, clouds, first, key):
        return Followed(
            motions, [energy(template.level, cloud, first, complete) for cloud in cancelable(clouds)]
        )
    usual = energy(template.level, clouds[key], first, complete)
    known = {key: usual}  # energies of frames

    def cost(motion: Motion, i: int) -> float:
        return energy(template.level, clouds[i], motion, complete)

    def guesses(last: int, i: int, likely: Sequence[Motion], here: Motion) -> Iterator[Start]:
        yield from (Start(motion, False) for motion in likely)
        if match is not None:
            found = matched(template, motions[last], clouds[i], partial(match, last, i))
            yield Start(found, False)
            yield Start(found, True)
        yield Start(likely[0], True)
        yield Start(here, False)
        yield Start(here, True)

    def lead(frames: range) -> None:
        before, energies = first, [usual]
        for last, i in pairwise(frames):
            now = motions[last]
            shift = clouds[i].points.mean(0) - clouds[last].points.mean(0)
            leaps = max(last, i) in cuts or np.linalg.norm(shift) > LEAP
            here = now._replace(positions=now.positions + shift) if leaps else now
            expected = here if leaps else extrapolate(now, before)
            enough = USUAL * float(np.median(energies))
            # Then the step is small, and one guess more, that nothing moves, costs less than a match. A view
            # from one side may be explained as well by a wrong motion.
            unmoved = cost(here, i)
            near = complete and unmoved < NEARBY * enough
            likely = [expected, here] if near else [expected]
            # Where fits differ by more than what moves, that is not to go on: no match would put it right.
            if near and match is None:
                likely = [here if unmoved < cost(expected, i) else expected]
            starting = islice(guesses(last, i, likely, here), starts + len(likely) - 1)
            best = register(template, clouds[i], starting, complete, enough, stages)
            motions[i] = best.motion
            energies.append(best.energy)
            before = motions[i] if leaps else now
            known[i] = best.energy
            report(len(known) / len(clouds))
            if is_lost(sum(list(known.values()))):
                break

    ways = [range(key, len(clouds)), range(key, -1, -1)]
    side_by_side(lead, ways, threads or template.level.backend.threads)
    return Followed(motions, [known.get(i, np.inf) for i in range(len(clouds))])


def stands_still(template: Template, clouds: Sequence[Cloud], motion: Motion, key: int) -> bool:
    """Whether one motion explains every frame as well as its own, so that nothing moves but within noise.

    A surface fitted to N points with p parameters is nearer to them than to others of the same noise, by a
    factor of (1 - p / N) / (1 + p / N) in the mean square. A surface that misfits its own frame tells little:
    the points must be in the same places, too.
    """
    moved = template.level.graph.move(template.level.skin, motion)
    cells = sort_into_cells(moved.points)
    across = []
    for cloud in cancelable(clouds):
        found = nearest_in_cells(cells, cloud.points, 1, np.inf)[1][:, 0]
        across.append(np.mean(((cloud.points - moved.points[found]) * moved.normals[found]).sum(1) ** 2))
    fitted = 1 / GATHERED + FREEDOM / len(clouds[key].points)
    explained = max(across) <= STILL * across[key] * (1 + fitted) / max(1 - fitted, 0.1)
    return bool(explained and stays(clouds[key].cells, [cloud.cells for cloud in clouds]))
