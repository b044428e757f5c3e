"""Carrying particles along a velocity field, through torchdiffeq.

The state is the positions alone: the codes are constant, and counting them would only dilute the error norm.
A batch is one system with one step size.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torchdiffeq import odeint

from model.config import ModelConfig
from model.errors import FlowError, InputError
from model.velocity_field import Field


@dataclass(frozen=True)
class Solver:
    """A method of torchdiffeq with its tolerances (box units) and options."""

    method: str = "dopri5"
    rtol: float = 1e-3
    atol: float = 1e-5
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_config(cls, config: ModelConfig) -> "Solver":
        step = config.ode_step_size
        # Fixed-step methods land on their own grid and interpolate between; linear would undo their order.
        options = {} if step is None else {"step_size": step, "interp": "cubic"}
        return cls(config.ode_solver, config.rtol, config.atol, options)


def advect(
    velocity: Field,
    points: Tensor,
    times: Tensor,
    solver: Solver,
    on_evaluation: Callable[[float], None] | None = None,
) -> Tensor:
    """Positions [K, B, P, 3] at `times` [K] ≥ 0, in the order asked for, of `points` [B, P, 3] at time 0.

    `on_evaluation` is called with the time of each evaluation of the field; what it raises ends the solve.
    """
    if not bool((times >= 0).all()):
        raise InputError(f"times of the flow must be 0 or later; found {times.min().item():g}")
    asked = torch.cat([times.new_zeros(1), times])  # [1 + K]
    grid, order = torch.unique(asked, return_inverse=True)  # [G], [1 + K]
    if len(grid) == 1:
        return points.expand(len(times), *points.shape)

    def derivative(t: Tensor, state: Tensor) -> Tensor:
        if on_evaluation is not None:
            on_evaluation(t.item())
        return velocity(t.to(state.dtype), state)

    try:
        states: Tensor = odeint(
            derivative,
            points,
            grid,
            rtol=solver.rtol,
            atol=solver.atol,
            method=solver.method,
            options=solver.options,
        )
    except (
        AssertionError
    ) as error:  # how torchdiffeq reports a step that became too small or a state not finite
        raise FlowError(
            f"the velocity field cannot be integrated to t = {grid[-1].item():g}: {error}"
        ) from None
    return states[order[1:]]


def advect_back(velocity: Field, points: Tensor, t_item: Tensor, times: Tensor, solver: Solver) -> Tensor:
    """Run time backwards: positions [K, B, P, 3] at `t_item - times`, of `points` [B, P, 3] at `t_item` [B].

    `times` [K] ≥ 0 is how long to go back, so items of different times share one solve.
    """
    return advect(lambda s, state: -velocity(t_item - s, state), points, times, solver)
