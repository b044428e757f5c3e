"""Carrying particles by a fixed number of Runge-Kutta steps, through which gradients go directly.

The adjoint method solves a second, larger system backwards and spends most of a training step on it; a
network's field is smooth enough for a few steps, whose graph fits in memory. `recompute` keeps the states
between steps alone and evaluates each step again on the way back.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from model.flow.fields import Field

Step = Callable[[Field, Tensor, float, float], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class FixedSteps:
    """A method of `METHODS` and how many even steps it takes to the last time asked for."""

    method: str = "rk4"
    steps: int = 4
    recompute: bool = False


def advect_fixed(velocity: Field, points: Tensor, times: Tensor, solver: FixedSteps) -> Tensor:
    """Positions [K, B, P, 3] at `times` [K] ≥ 0, in any order, of `points` [B, P, 3] at time 0.

    Times between the steps are read off the cubic through the two states and their velocities.
    """
    asked = times.tolist()
    h = max(asked, default=0.0) / solver.steps
    if h == 0:
        return points.expand(len(asked), *points.shape)
    step = METHODS[solver.method]
    states, slopes = [points], []
    for n in range(solver.steps):
        if solver.recompute and torch.is_grad_enabled():
            state, slope = checkpoint(step, velocity, states[-1], n * h, h, use_reentrant=False)
        else:
            state, slope = step(velocity, states[-1], n * h, h)
        states.append(state)
        slopes.append(slope)

    places = [min(int(t / h + ROUNDING), solver.steps - 1) for t in asked]
    fractions = [t / h - n for t, n in zip(asked, places, strict=True)]
    if any(n == solver.steps - 1 and 0 < u < 1 - ROUNDING for n, u in zip(places, fractions, strict=True)):
        slopes.append(velocity(_time(points, solver.steps * h), states[-1]))
    return torch.stack([between(states, slopes, n, u, h) for n, u in zip(places, fractions, strict=True)])


ROUNDING = 1e-6  # of a step: a time this near to a state is that state


def between(states: list[Tensor], slopes: list[Tensor], n: int, u: float, h: float) -> Tensor:
    """The cubic Hermite interpolant a fraction `u` of the way from state n to the next."""
    if abs(u) <= ROUNDING:
        return states[n]
    if abs(u - 1) <= ROUNDING:
        return states[n + 1]
    way = states[n + 1] - states[n]
    bend = u * (1 - u) * h * ((1 - u) * slopes[n] - u * slopes[n + 1])
    return states[n] + u * u * (3 - 2 * u) * way + bend


def _midpoint(velocity: Field, x: Tensor, t: float, h: float) -> tuple[Tensor, Tensor]:
    k1 = velocity(_time(x, t), x)
    k2 = velocity(_time(x, t + h / 2), x + h / 2 * k1)
    return x + h * k2, k1


def _rk4(velocity: Field, x: Tensor, t: float, h: float) -> tuple[Tensor, Tensor]:
    k1 = velocity(_time(x, t), x)
    k2 = velocity(_time(x, t + h / 2), x + h / 2 * k1)
    k3 = velocity(_time(x, t + h / 2), x + h / 2 * k2)
    k4 = velocity(_time(x, t + h), x + h * k3)
    return x + h / 6 * (k1 + 2 * (k2 + k3) + k4), k1


def _time(x: Tensor, t: float) -> Tensor:
    return x.new_full((), t)


METHODS: dict[str, Step] = {"midpoint": _midpoint, "rk4": _rk4}  # each: the next state, and the first slope
