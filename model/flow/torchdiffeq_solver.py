"""The solvers of torchdiffeq, as in the published code."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torchdiffeq import odeint, odeint_adjoint

from model.config.sections import ModelConfig
from model.errors import FlowError
from model.flow.fields import Field
from model.flow.solution import OnProgress, Solution


@dataclass(frozen=True)
class TorchdiffeqSolver:
    """A method of torchdiffeq with its tolerances (box units) and options.

    All particles are one system with one step size. With `adjoint`, gradients come from the adjoint equation
    (Chen et al. 2018) instead of autograd.
    """

    method: str = "dopri5"
    rtol: float = 1e-3
    atol: float = 1e-5
    options: dict[str, Any] = field(default_factory=dict)
    adjoint: bool = False

    @classmethod
    def from_config(cls, config: ModelConfig) -> "TorchdiffeqSolver":
        """The solver of `model.ode_solver`."""
        step = config.ode_step_size
        # Fixed-step methods interpolate between their steps, linearly by default, which loses their order.
        options = {} if step is None else {"step_size": step, "interp": "cubic"}
        return cls(config.ode_solver, config.rtol, config.atol, options)

    @property
    def is_adaptive(self) -> bool:
        return "step_size" not in self.options

    def solve(
        self,
        field: Field,
        points: Tensor,
        times: Tensor,
        *,
        on_progress: OnProgress | None = None,
        parameters: Sequence[Tensor] = (),
    ) -> Solution:
        """See `Solver.solve`. `adjoint` gives gradients to `points` and `parameters`."""
        derivative = _Derivative(field, times[-1].item(), on_progress, self.is_adaptive)
        times = times.to(points.device)
        settings = {"rtol": self.rtol, "atol": self.atol, "method": self.method, "options": self.options}
        try:
            positions: Tensor
            if self.adjoint and torch.is_grad_enabled():
                differentiated = tuple(tensor for tensor in parameters if tensor.requires_grad)
                positions = odeint_adjoint(
                    derivative, points, times, adjoint_params=differentiated, **settings
                )
            else:
                positions = odeint(derivative, points, times, **settings)
        except AssertionError as error:  # torchdiffeq: the step size underflows, or the state is not finite
            raise FlowError(
                f"the velocity field cannot be integrated to t = {times[-1].item():g}: {error}"
            ) from None
        return Solution(positions, derivative.evaluations, torch.tensor(derivative.steps))


class _Derivative:
    """The right-hand side for torchdiffeq; counts evaluations and accepted steps.

    The state holds the positions only: codes are constant and would dilute the error norm.
    """

    def __init__(self, field: Field, end: float, on_progress: OnProgress | None, is_adaptive: bool) -> None:
        self.field, self.end, self.on_progress = field, end, on_progress
        self.evaluations = self.steps = 0
        # torchdiffeq looks the callback up by name, and warns of one that a method does not call.
        setattr(self, "callback_accept_step" if is_adaptive else "callback_step", self._count_step)

    def __call__(self, t: Tensor, positions: Tensor) -> Tensor:
        self.evaluations += 1
        if self.on_progress is not None:
            self.on_progress(t.item() / self.end)
        return self.field(t.to(positions.dtype), positions)

    def _count_step(self, t: Tensor, positions: Tensor, h: Tensor) -> None:  # noqa: ARG002
        self.steps += 1


def worst_item_norm(error: Tensor) -> Tensor:
    """Error norm of a batch [B, P, 3]: the maximum over the items of the root mean square."""
    return error.flatten(1).square().mean(dim=1).sqrt().amax()
