"""One frame from a guess of its motion: transport for what moved far, then distances to the surface."""

from collections.abc import Callable

import numpy as np

from model.registration.clouds import Cloud
from model.registration.fitting import Observations, Stage, fit
from model.registration.graph import Motion
from model.registration.kernels import Floats
from model.registration.motions import transfer
from model.registration.template import Template
from model.registration.transport import transport_targets

BLURS = (0.06, 0.04, 0.03, 0.03)  # of the transport plan, round after round
PLACED = 0.08  # distance beyond which mass rather stays unmatched
MATCHED = 1.0  # weight of a sure match against transport
FAR = Stage(0.03, 0.05, 0.0, 2)
NEAR = (Stage(10.0, 0.02, 0.08, 4), Stage(3.0, 0.02, 0.08, 4), Stage(1.0, 0.01, 0.06, 6))


def register(
    template: Template, cloud: Cloud, start: Motion, complete: bool, matches: Observations | None = None
) -> Motion:
    """The motion of the fine graph that puts the template on a cloud, from a start near it.

    `complete` is whether the cloud covers the whole surface; `matches` say where samples of the template are.
    """
    if complete or matches is not None:
        coarse = template.restrict(start)
        for blur in BLURS:
            goals = [matches] if matches is not None else []
            if complete:
                goals.append(_transport(template, coarse, cloud, blur))
            coarse = fit(template.coarse, cloud, coarse, [FAR], complete, goals)
        start = transfer(template.coarse.graph, coarse, template.fine.graph)
    return fit(template.fine, cloud, start, NEAR, complete)


def matched(
    template: Template, now: Motion, match: Callable[[Floats], tuple[Floats, Floats]]
) -> Observations:
    """Where the first samples of the template are according to a match of the frame where they are now."""
    few = len(template.masses)
    goals, confidence = match(template.fine.graph.move(template.fine.skin[np.arange(few)], now).points)
    return _goals(goals, MATCHED * confidence * template.masses)


def _transport(template: Template, coarse: Motion, cloud: Cloud, blur: float) -> Observations:
    few = len(template.masses)
    now = template.coarse.graph.move(template.coarse.skin[np.arange(few)], coarse).points
    goals, placed = transport_targets(now, template.masses, cloud.few, cloud.masses, blur, PLACED, 30)
    return _goals(goals, placed * template.masses)


def _goals(goals: Floats, weights: Floats) -> Observations:
    few = len(goals)
    return Observations(np.arange(few), goals, np.zeros((few, 3)), np.zeros(few), weights)
