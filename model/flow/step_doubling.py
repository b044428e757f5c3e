"""Carrying each particle by as many Runge–Kutta steps as its own motion asks for.

An adaptive solver has one step size for all particles and an error norm over all of them, so the few in a
strong shear are far off while most are better than asked. Here all begin with a few steps, and those whose
estimated error is beyond the tolerance start again with twice as many.

The steps are those of Bogacki and Shampine (1989): third order in three evaluations, with a second-order
solution beside it. Half the sum of the differences of the two was found to be above nineteen of twenty
errors. Networks of ReLU bend in kinks, so errors fall with the square of the step whatever the order, and
this method had the least error per evaluation of those tried.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from model.devices import CPU_CHUNK
from model.errors import FlowError
from model.flow.fields import RowField
from model.flow.fixed_step import ROUNDING, between

FIRST, MOST = 8, 64  # steps over the whole time

Watch = Callable[[float], None]  # told the fraction done after each evaluation; what it raises ends the solve


class Paths(NamedTuple):
    """Positions [K, P, 3] at the times asked for, and the estimated error [P] at the end of each path."""

    positions: Tensor
    error: Tensor


def integrate(
    field: RowField,
    points: Tensor,
    times: Tensor,
    tolerance: float,
    *,
    first: int = FIRST,
    most: int = MOST,
    rows: int = CPU_CHUNK,
    watch: Watch | None = None,
) -> Paths:
    """Where points [P, 3] of time 0 are at `times` [K] ≥ 0, each to about `tolerance` in the box's units.

    `first` and `most` bound the steps; with `most` of them a particle is taken as it is. `rows` particles go
    together. Raises FlowError where the field gives no finite velocities.
    """
    asked = times.tolist()
    if max(asked, default=0.0) == 0 or not len(points):
        return Paths(points.expand(len(asked), *points.shape), points.new_zeros(len(points)))
    parts = []
    for done, part in enumerate(torch.split(points, rows)):
        share = None if watch is None else _share(watch, done * rows / len(points), len(part) / len(points))
        parts.append(_integrate_rows(field, part, asked, tolerance, first, most, share))
    positions = torch.cat([part.positions for part in parts], dim=1)
    if not bool(positions.isfinite().all()):
        raise FlowError(
            "the velocity field is not finite: the weights or the codes of this input are damaged"
        )
    return Paths(positions, torch.cat([part.error for part in parts]))


def _integrate_rows(
    field: RowField,
    points: Tensor,
    asked: list[float],
    tolerance: float,
    steps: int,
    most: int,
    watch: Watch | None,
) -> Paths:
    paths = runge_kutta(field, points, asked, steps, watch)
    while steps < most and len(again := (paths.error > tolerance).nonzero()[:, 0]):
        steps = min(2 * steps, most)
        finer = runge_kutta(field, points[again], asked, steps, watch)
        paths.positions[:, again], paths.error[again] = finer.positions, finer.error
    return paths


def runge_kutta(
    field: RowField, points: Tensor, asked: list[float], steps: int, watch: Watch | None = None
) -> Paths:
    """`steps` even steps to the last of the times `asked`, the cubic through states and slopes in between."""
    h = max(asked) / steps
    states, slopes = [points], [field(0.0, points)]  # [P, 3] each
    error = points.new_zeros(len(points))  # [P]
    for n in range(steps):
        x, k1, t = states[-1], slopes[-1], n * h
        k2 = field(t + h / 2, torch.add(x, k1, alpha=h / 2))
        k3 = field(t + 3 / 4 * h, torch.add(x, k2, alpha=3 / 4 * h))
        states.append(torch.add(x, 2 * k1 + 3 * k2 + 4 * k3, alpha=h / 9))
        slopes.append(k4 := field(t + h, states[-1]))
        error += h / 144 * (5 * k1 - 6 * k2 - 8 * k3 + 9 * k4).norm(dim=1)
        if watch is not None:
            watch((n + 1) / steps)
    positions = points.new_empty(len(asked), *points.shape)  # [K, P, 3]
    for k, t in enumerate(asked):
        n = min(int(t / h + ROUNDING), steps - 1)
        positions[k] = between(states, slopes, n, t / h - n, h)
    return Paths(positions, error)


def _share(watch: Watch, start: float, length: float) -> Watch:
    """Progress of one part as progress of the whole; later passes over it do not go back."""
    return lambda fraction: watch(start + length * fraction)
