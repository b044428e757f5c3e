"""The interface of all ODE solvers, and their result."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from model.flow.fields import Field

OnProgress = Callable[[float], None]  # completed fraction of the time span; an exception ends the solve


class Solution(NamedTuple):
    """Trajectories at the requested times, and statistics of the solve."""

    positions: Tensor  # [K, *points.shape]
    evaluations: int  # calls of the field
    steps: Tensor  # number of accepted steps, int64: [], or [P] if every particle has its own step size
    error: Tensor | None = None  # estimated error at the last time [P], if the solver has an estimate


class Solver(Protocol):
    """Integrates particles along a velocity field."""

    def solve(
        self,
        field: Field,
        points: Tensor,
        times: Tensor,
        *,
        on_progress: OnProgress | None = None,
        parameters: Sequence[Tensor] = (),
    ) -> Solution:
        """Positions at `times` [K] of particles that are at `points` at time 0.

        `times` are on the CPU, strictly increasing, start at 0 and hold at least two values; see
        `model.flow.ode.advect`, which accepts any. `parameters` are the tensors that the field depends on,
        for solvers whose gradient does not follow from autograd. Raises FlowError if the field cannot be
        integrated.
        """
