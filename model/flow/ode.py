"""Advection of particles along a velocity field: dx/dt = v(t, x).

solution = advect(field, points, times, StepDoubling(tolerance=1e-3))
solution.positions   # [K, P, 3] at `times` [K]
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from model.config.schema import Config
from model.errors import InputError
from model.flow.fields import Field
from model.flow.runge_kutta import FixedSteps
from model.flow.solution import OnProgress, Solution, Solver
from model.flow.torchdiffeq_solver import TorchdiffeqSolver, worst_item_norm


def training_solver(config: Config) -> Solver:
    """The solver that `training.gradient` selects."""
    training = config.training
    if training.gradient == "adjoint":
        return replace(TorchdiffeqSolver.from_config(config.model), adjoint=True)
    return FixedSteps(training.solver_method, training.solver_steps, training.recompute)


def advect(
    field: Field,
    points: Tensor,
    times: Tensor,
    solver: Solver,
    on_progress: OnProgress | None = None,
    parameters: Sequence[Tensor] = (),
) -> Solution:
    """Positions [K, *points.shape] at `times` [K] ≥ 0, in any order, of particles at `points` at time 0.

    `points` are [P, 3], or [B, P, 3] for a batch. See `Solver.solve` for the other arguments. Raises
    InputError for times before 0 and FlowError if the field cannot be integrated.
    """
    known = times.cpu()  # the only wait for a GPU: solvers need the values
    if not bool((known >= 0).all()):
        raise InputError(f"times of the flow must be 0 or later; found {known.min().item():g}")
    grid, order = torch.unique(torch.cat([known.new_zeros(1), known]), return_inverse=True)  # [G], [1 + K]
    if len(grid) == 1 or not points.numel():
        return Solution(points.expand(len(times), *points.shape), 0, torch.tensor(0))
    solution = solver.solve(field, points, grid, on_progress=on_progress, parameters=parameters)
    return solution._replace(positions=solution.positions[order[1:].to(solution.positions.device)])


def advect_to_0(
    field: Field, points: Tensor, t_item: Tensor, solver: Solver, parameters: Sequence[Tensor] = ()
) -> Solution:
    """Positions [1, B, P, 3] at time 0 of `points` [B, P, 3], those of item b given at time t_item[b] ≥ 0.

    The time of each item is rescaled, so that one solve integrates all of them. The error norm is that of the
    worst item: items with short time spans do not dilute it.
    """
    span = t_item[:, None, None]
    if isinstance(solver, TorchdiffeqSolver) and solver.is_adaptive:
        solver = replace(solver, options={**solver.options, "norm": worst_item_norm})

    def reversed_field(s: Tensor, positions: Tensor) -> Tensor:
        return -span * field((1 - s) * t_item, positions)

    return advect(reversed_field, points, t_item.new_ones(1), solver, None, parameters)


def advect_back(
    field: Field, points: Tensor, times: Tensor, solver: Solver, parameters: Sequence[Tensor] = ()
) -> Solution:
    """Positions [K, *points.shape] at 1 - `times` [K] of particles at `points` at time 1."""
    return advect(lambda s, x: -field(1 - s, x), points, times, solver, None, parameters)
