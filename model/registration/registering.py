"""One frame from guesses of its motion: transport for what moved far, then distances to the surface."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from model.compiled import Floats
from model.registration.clouds import Cloud
from model.registration.descent import relative_stiffness
from model.registration.fitting import Goals, Level, Prior, Stage, fit
from model.registration.graph import Motion
from model.registration.parallel import side_by_side
from model.registration.template import Template

BLURS = (0.06, 0.04, 0.03, 0.03)  # of the transport plan, round after round
PLACED = (0.08, 0.08)  # distances beyond which the surface, and points, rather stay unmatched
HIDDEN = (0.01, 0.08)  # the same where part of the surface is out of view
SURE = 0.02  # expected error at which a match counts half
FAR = Stage(0.03, 0.05, 0.0, 2)
NEAR = (Stage(10.0, 0.02, 0.08, 4), Stage(3.0, 0.02, 0.08, 4), Stage(1.0, 0.01, 0.06, 6))
QUICK = (Stage(10.0, 0.02, 0.08, 2), Stage(3.0, 0.02, 0.08, 2), Stage(1.0, 0.01, 0.06, 3))  # for a draft
SAME = 0.03  # share of the energy by which two starts differ that lead to the same motion
CAP = 0.05  # distances count no more than this


class Start(NamedTuple):
    """A guess of a motion, and whether limbs may be far from it, so that transport leads on."""

    motion: Motion
    far: bool


class Fitted(NamedTuple):
    """A motion and the energy it is judged by."""

    motion: Motion
    energy: float


def register(
    template: Template,
    cloud: Cloud,
    starts: Iterable[Start],
    complete: bool,
    enough: float = 0.0,
    stages: Sequence[Stage] = NEAR,
) -> Fitted:
    """The best motion that puts the template on a cloud, from several starts, the likeliest first.

    `complete` is whether the cloud covers the whole surface; no other start is tried once the energy is below
    `enough`, or another start has led to the same.
    """
    best: Fitted | None = None
    for start in starts:
        begin = approach(template, cloud, start.motion, complete) if start.far else start.motion
        motion = fit(template.level, cloud, begin, stages, complete)
        found = Fitted(motion, energy(template.level, cloud, motion, complete))
        agree = best is not None and abs(found.energy - best.energy) < SAME * best.energy
        if best is None or found.energy < best.energy:
            best = found
        if agree or best.energy < enough:
            break
    if best is None:
        raise ValueError("registration needs a motion to start from")
    return best


def approach(template: Template, cloud: Cloud, start: Motion, complete: bool) -> Motion:
    """Go where transport points, however far."""
    for blur in BLURS:
        goals = _transport(template, start, cloud, blur, PLACED if complete else HIDDEN)
        start = fit(template.level, cloud, start, [FAR], complete, goals)
    return start


def matched(
    template: Template, now: Motion, cloud: Cloud, match: Callable[[Floats], tuple[Floats, Floats]]
) -> Motion:
    """Where the template is on a cloud according to a match of the frame where it is now."""
    goals, error = match(_few(template, now))
    wanted = Goals(goals, template.masses / (1 + (error / SURE) ** 2))
    return fit(template.level, cloud, now, [FAR._replace(rounds=6)], True, wanted)


def energy(
    level: Level,
    cloud: Cloud,
    motion: Motion,
    complete: bool,
    prior: Prior | None = None,
    stiff: float = NEAR[-1].stiffness,
) -> float:
    """Mean squared distances, capped, of points to the surface and back, and what bent edges cost.

    `stiff` is the weight of the latter.
    """
    total = level.backend.misfit(level.loaded, cloud, motion, level.seen(cloud, motion, complete), CAP)
    residuals = level.graph.stretch(motion)
    stiffness = relative_stiffness(residuals, level.rigidity, level.yielding)
    total += stiff * (stiffness * ((residuals**2).sum(1) + level.yielding**2)).mean()
    if prior is not None:
        total += prior.cost(motion)
    return float(total)


def energies_of(
    level: Level, clouds: Sequence[Cloud], motions: Sequence[Motion], complete: bool
) -> list[float]:
    """The energy of each frame, without a prior."""
    return side_by_side(
        lambda t: energy(level, clouds[t], motions[t], complete), range(len(clouds)), level.backend.threads
    )


def _transport(
    template: Template, motion: Motion, cloud: Cloud, blur: float, reach: tuple[float, float]
) -> Goals:
    now = _few(template, motion)
    goals, placed = template.level.backend.transport(
        now, template.masses, cloud.few, cloud.masses, blur, reach, 30
    )
    return Goals(goals, placed * template.masses)


def _few(template: Template, motion: Motion) -> Floats:
    skin = template.level.skin[np.arange(len(template.masses))]
    return template.level.graph.move(skin, motion).points
