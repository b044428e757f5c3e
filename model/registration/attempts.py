"""A template's way through a sequence, and how likely what comes of it is."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from model.compiled import Ints
from model.registration.clouds import Cloud
from model.registration.following import Followed, Match, follow, never
from model.registration.graph import Motion
from model.registration.options import Options
from model.registration.pull import REACH
from model.registration.registering import energies_of
from model.registration.sweeping import sweep
from model.registration.template import Template, refined, taken_apart
from model.registration.turning import turn_parts

SMOOTH = 0.35  # power of the mean acceleration by which it makes motions less likely
Tell = Callable[[float], None]


@dataclass(frozen=True)
class Scene:
    """What templates are followed through."""

    frames: Sequence[Cloud]
    cuts: Sequence[int]  # frames where takes begin
    lapses: Ints  # [T - 1], usual steps of time between them
    complete: bool  # whether the frames show the whole surface
    match: Match | None
    options: Options


class Result(NamedTuple):
    """A template with the points of all frames on its surface, and its motion in each of them."""

    template: Template
    motions: list[Motion]


def follow_through(
    scene: Scene,
    template: Template,
    key: int,
    some: range,
    tell: Tell,
    is_lost: Callable[[float], bool] = never,
    threads: int | None = None,
) -> Followed:
    """Follow a template from frame `key` through some of the frames, on at most `threads`."""
    match, cuts = scene.match, sorted({bisect_left(some, cut) for cut in scene.cuts} - {0, len(some)})
    among = None if match is None else lambda i, j, queries: match(some[i], some[j], queries)
    clouds, options = [scene.frames[t] for t in some], scene.options
    found = follow(
        template, clouds, some.index(key), scene.complete, among, tell, options.starts, cuts, is_lost,
        options.stages, threads,
    )  # fmt: skip
    tell(1.0)
    return found


def improve(scene: Scene, template: Template, followed: Followed, turned: Tell, swept: Tell) -> Result:
    """Turn parts that were lost, then fit all frames together and refine the template from them."""
    frames, cuts, options, motions = scene.frames, scene.cuts, scene.options, followed.motions
    sweeps = 0 if all(motion is motions[0] for motion in motions) else options.sweeps
    if scene.complete and sweeps and options.from_neighbors:
        motions = turn_parts(template, frames, *followed, turned, cuts)
    for n in range(sweeps):

        def tell(part: float, before: int = n) -> None:
            swept((before + part) / sweeps)

        motions = sweep(
            template, frames, motions, scene.complete, n % 2 == 1, tell, cuts, options.from_neighbors,
            scene.lapses,
        )  # fmt: skip
        if n + 1 < sweeps:
            template, motions = taken_apart(template, frames, motions) or (template, motions)
        template = refined(template, frames, motions, REACH)
    turned(1.0)
    swept(1.0)
    return Result(template, motions)


def unlikelihood(scene: Scene, result: Result) -> float:
    """Low where the motion is smooth and leads the surface to the points: their product, so without a scale.

    Where points are few, a limb that was taken for another one fits them as well, but has to jump.
    """
    level, motions = result.template.level, result.motions
    energy = float(np.mean(energies_of(level, scene.frames, motions, scene.complete)))
    # Velocities in units of the usual step of time, which begin anew at a cut.
    velocity = [
        (b.positions - a.positions) / lapse
        for (a, b), lapse in zip(pairwise(motions), scene.lapses, strict=True)
    ]
    bent = [
        velocity[t] - velocity[t - 1] for t in range(1, len(velocity)) if not {t, t + 1} & set(scene.cuts)
    ]
    if not bent:
        return energy
    acceleration = float(np.linalg.norm(bent, axis=2).mean())
    return float(energy * acceleration**SMOOTH)
