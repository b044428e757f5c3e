"""Explicit Runge-Kutta integration with a given number of equal steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from model.flow.fields import Field
from model.flow.interpolation import hermite, is_between, locate
from model.flow.solution import OnProgress, Solution
from model.flow.tableaus import TABLEAUS, ButcherTableau


@dataclass(frozen=True)
class FixedSteps:
    """`steps` equal steps of a method of `TABLEAUS`, differentiated by autograd.

    The adjoint method solves a second, larger system backwards, which takes most of the time of a training
    step; the field of a network is smooth enough for a few steps, whose graph fits in memory. With
    `recompute` only the states between steps are kept and each step is evaluated again in the backward pass.
    """

    method: str = "rk4"
    steps: int = 4
    recompute: bool = False

    def solve(
        self,
        field: Field,
        points: Tensor,
        times: Tensor,
        *,
        on_progress: OnProgress | None = None,
        parameters: Sequence[Tensor] = (),  # noqa: ARG002 - autograd finds them
    ) -> Solution:
        return integrate_steps(
            field, points, times, TABLEAUS[self.method], self.steps, self.recompute, on_progress
        )


class Step(NamedTuple):
    state: Tensor
    slope: Tensor  # at the beginning of the step
    next_slope: Tensor | None  # at its end, if the method evaluates it
    error: Tensor | None  # [..., P], norm of the difference to the embedded method


def integrate_steps(
    field: Field,
    points: Tensor,
    times: Tensor,
    tableau: ButcherTableau,
    steps: int,
    recompute: bool = False,
    on_progress: OnProgress | None = None,
) -> Solution:
    """Solution at increasing `times` [K] after `steps` equal steps to the last one.

    `error` is the sum of the local error estimates [..., P]. Times between steps are interpolated.
    """
    requested = times.tolist()
    h = requested[-1] / steps
    calls = 0

    def evaluate(t: float, x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return field(x.new_full((), t), x)

    def step(x: Tensor, t: float, slope: Tensor | None) -> Step:
        slopes = [evaluate(t, x) if slope is None else slope]
        for c, a in zip(tableau.c[1:], tableau.a[1:], strict=True):
            stage = _combine(x, slopes, a, h)
            slopes.append(evaluate(t + c * h, stage))
        is_fsal = tableau.first_same_as_last
        state = stage if is_fsal else _combine(x, slopes, tableau.b, h)
        error = None
        if tableau.error:
            error = _combine(torch.zeros_like(x), slopes, tableau.error, h).norm(dim=-1)
        return Step(state, slopes[0], slopes[-1] if is_fsal else None, error)

    states, slopes, errors, slope = [points], [], [], None
    for n in range(steps):
        if recompute and torch.is_grad_enabled():
            taken = Step(*checkpoint(step, states[-1], n * h, slope, use_reentrant=False))
        else:
            taken = step(states[-1], n * h, slope)
        states.append(taken.state)
        slopes.append(taken.slope)
        slope = taken.next_slope
        if taken.error is not None:
            errors.append(taken.error)
        if on_progress is not None:
            on_progress((n + 1) / steps)

    located = [locate(t, h, steps) for t in requested]
    if slope is None and any(n == steps - 1 and is_between(fraction) for n, fraction in located):
        slope = evaluate(steps * h, states[-1])
    if slope is not None:
        slopes.append(slope)
    positions = torch.stack([hermite(states, slopes, n, fraction, h) for n, fraction in located])
    return Solution(positions, calls, torch.tensor(steps), torch.stack(errors).sum(dim=0) if errors else None)


def _combine(x: Tensor, slopes: Sequence[Tensor], weights: Sequence[float], h: float) -> Tensor:
    """x + h Σ weights · slopes, in a new tensor."""
    terms = [(slope, h * weight) for slope, weight in zip(slopes, weights, strict=False) if weight]
    result = torch.add(x, terms[0][0], alpha=terms[0][1])
    for slope, factor in terms[1:]:
        result.add_(slope, alpha=factor)
    return result
