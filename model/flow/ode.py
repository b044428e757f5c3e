"""Carrying particles along a velocity field, through torchdiffeq or by a fixed number of steps.

The state is the positions alone: the codes are constant, and counting them would only dilute the error norm.
A batch is one system with one step size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torchdiffeq import odeint, odeint_adjoint

from model.config.schema import Config, ModelConfig
from model.errors import FlowError, InputError
from model.flow.fields import Field
from model.flow.fixed_step import FixedSteps, advect_fixed


@dataclass(frozen=True)
class Solver:
    """A method of torchdiffeq with its tolerances (box units) and options; `adjoint`: how gradients go."""

    method: str = "dopri5"
    rtol: float = 1e-3
    atol: float = 1e-5
    options: dict[str, Any] = field(default_factory=dict)
    adjoint: bool = False

    @classmethod
    def from_config(cls, config: ModelConfig) -> "Solver":
        step = config.ode_step_size
        # Fixed-step methods land on their own grid and interpolate between; linear would undo their order.
        options = {} if step is None else {"step_size": step, "interp": "cubic"}
        return cls(config.ode_solver, config.rtol, config.atol, options)


def training_solver(config: Config) -> Solver | FixedSteps:
    """What `training.gradient` asks for."""
    training = config.training
    if training.gradient == "adjoint":
        return replace(Solver.from_config(config.model), adjoint=True)
    return FixedSteps(training.solver_method, training.solver_steps, training.recompute)


def advect(
    velocity: Field,
    points: Tensor,
    times: Tensor,
    solver: Solver | FixedSteps,
    on_evaluation: Callable[[float], None] | None = None,
    parameters: Sequence[Tensor] = (),
) -> Tensor:
    """Positions [K, B, P, 3] at `times` [K] ≥ 0, in the order asked for, of `points` [B, P, 3] at time 0.

    `on_evaluation` is called with the time of each evaluation of the field; what it raises ends the solve.
    The adjoint method gives gradients to the points and to those of `parameters`, on which the field depends.
    """
    if not bool((times >= 0).all()):
        raise InputError(f"times of the flow must be 0 or later; found {times.min().item():g}")
    asked = torch.cat([times.new_zeros(1), times])  # [1 + K]
    grid, order = torch.unique(asked, return_inverse=True)  # [G], [1 + K]
    if len(grid) == 1:
        return points.expand(len(times), *points.shape)
    if isinstance(solver, FixedSteps):
        return advect_fixed(velocity, points, times, solver)

    def derivative(t: Tensor, state: Tensor) -> Tensor:
        if on_evaluation is not None:
            on_evaluation(t.item())
        return velocity(t.to(state.dtype), state)

    settings = {
        "rtol": solver.rtol,
        "atol": solver.atol,
        "method": solver.method,
        "options": solver.options,
    }
    try:
        states: Tensor
        if solver.adjoint and torch.is_grad_enabled():
            wanted = tuple(tensor for tensor in parameters if tensor.requires_grad)
            states = odeint_adjoint(derivative, points, grid, adjoint_params=wanted, **settings)
        else:
            states = odeint(derivative, points, grid, **settings)
    except (
        AssertionError
    ) as error:  # how torchdiffeq reports a step that became too small or a state not finite
        raise FlowError(
            f"the velocity field cannot be integrated to t = {grid[-1].item():g}: {error}"
        ) from None
    return states[order[1:]]


def advect_to_0(
    velocity: Field,
    points: Tensor,
    t_item: Tensor,
    solver: Solver | FixedSteps,
    parameters: Sequence[Tensor] = (),
) -> Tensor:
    """Where `points` [B, P, 3], those of item b seen at t_item[b] ≥ 0, were at time 0: [B, P, 3].

    Each item runs its own time backwards as s goes from 0 to 1, so that all are there at once. Steps are such
    that the worst item is good enough: those that have little way to go do not dilute its error.
    """
    span = t_item[:, None, None]
    if isinstance(solver, Solver) and "step_size" not in solver.options:
        solver = replace(solver, options={**solver.options, "norm": _worst_item})

    def reversed_field(s: Tensor, state: Tensor) -> Tensor:
        return -span * velocity((1 - s) * t_item, state)

    return advect(reversed_field, points, t_item.new_ones(1), solver, None, parameters)[0]


def advect_back(
    velocity: Field,
    points: Tensor,
    times: Tensor,
    solver: Solver | FixedSteps,
    parameters: Sequence[Tensor] = (),
) -> Tensor:
    """Positions [K, B, P, 3] at 1 - `times` [K], of `points` [B, P, 3] at time 1."""
    return advect(lambda s, state: -velocity(1 - s, state), points, times, solver, None, parameters)


def _worst_item(error: Tensor) -> Tensor:
    """The greatest root mean square of the items of [B, P, 3]."""
    return error.flatten(1).square().mean(dim=1).sqrt().amax()
