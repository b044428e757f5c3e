"""Runge-Kutta integration in which every particle gets as many steps as its own error requires.

An adaptive solver has one step size for all particles and an error norm over all of them: the few particles
in a region of strong shear are inaccurate, while most are more accurate than required. Here all particles
start with a few steps, and those whose estimated error exceeds the tolerance start again with twice as many.

The method of Bogacki and Shampine (1989) is of third order with an embedded second-order solution. Half the
sum of the differences of the two bounded the true error in 95 % of cases. ReLU networks are only piecewise
smooth, so that errors decrease with the square of the step size for methods of any order; this one had the
smallest error per evaluation of those tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from model.devices import CPU_CHUNK
from model.errors import FlowError
from model.flow.fields import Field
from model.flow.runge_kutta import integrate_steps
from model.flow.solution import OnProgress, Solution
from model.flow.tableaus import BOGACKI_SHAMPINE

ERROR_SCALE = 0.5  # of the sum of local error estimates


@dataclass(frozen=True)
class StepDoubling:
    """`initial_steps` for all particles, doubled for those with an error above `tolerance` (box units).

    A particle that reaches `max_steps` is accepted. Particles are integrated `chunk_size` at a time.
    """

    tolerance: float
    initial_steps: int = 8
    max_steps: int = 64
    chunk_size: int = CPU_CHUNK

    def solve(
        self,
        field: Field,
        points: Tensor,
        times: Tensor,
        *,
        on_progress: OnProgress | None = None,
        parameters: Sequence[Tensor] = (),  # noqa: ARG002 - gives no gradients
    ) -> Solution:
        """See `Solver.solve`; points [P, 3]. Gives no gradients."""
        chunks = []
        for n, chunk in enumerate(torch.split(points, self.chunk_size)):
            start, length = n * self.chunk_size / len(points), len(chunk) / len(points)
            part = None if on_progress is None else _part_progress(on_progress, start, length)
            chunks.append(self._solve_chunk(field, chunk, times, part))
        positions = torch.cat([chunk.positions for chunk in chunks], dim=1)
        if not bool(positions.isfinite().all()):
            raise FlowError(
                "the velocity field is not finite: the weights or the codes of this input are damaged"
            )
        return Solution(
            positions,
            sum(chunk.evaluations for chunk in chunks),
            torch.cat([chunk.steps for chunk in chunks]),
            torch.cat([chunk.error for chunk in chunks if chunk.error is not None]),
        )

    def _solve_chunk(
        self, field: Field, points: Tensor, times: Tensor, on_progress: OnProgress | None
    ) -> Solution:
        steps = self.initial_steps
        positions, evaluations, error = self._solve_steps(field, points, times, steps, on_progress)
        taken = torch.full((len(points),), steps, device=points.device)
        while steps < self.max_steps and len(rejected := (error > self.tolerance).nonzero()[:, 0]):
            steps = min(2 * steps, self.max_steps)
            finer = self._solve_steps(field, points[rejected], times, steps, on_progress)
            positions[:, rejected], error[rejected], taken[rejected] = finer[0], finer[2], steps
            evaluations += finer[1]
        return Solution(positions, evaluations, taken, error)

    def _solve_steps(
        self, field: Field, points: Tensor, times: Tensor, steps: int, on_progress: OnProgress | None
    ) -> tuple[Tensor, int, Tensor]:
        solution = integrate_steps(field, points, times, BOGACKI_SHAMPINE, steps, on_progress=on_progress)
        return solution.positions, solution.evaluations, ERROR_SCALE * cast(Tensor, solution.error)


def _part_progress(on_progress: OnProgress, start: float, length: float) -> OnProgress:
    """Callback for a part of the particles that reports the fraction of the whole."""
    return lambda fraction: on_progress(start + length * fraction)
