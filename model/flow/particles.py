"""Integration of a dense surface by a sparse subset of its vertices; the others are interpolated.

The accuracy of the interpolation is estimated by leave-one-out prediction: every integrated particle is
predicted from its neighbors, and where the error is too large more vertices are integrated, in the end all of
that region. The reference is to integrate every vertex (`StepDoubling`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from model.flow.fields import Field
from model.flow.local_rbf import NEIGHBORS, LocalRBF
from model.flow.solution import OnProgress, Solution
from model.flow.step_doubling import StepDoubling

NEARBY = 3  # particles whose prediction errors apply to a vertex
MAX_FRACTION = 0.6  # of the vertices; if more would have to be integrated, all are
# Particles are predicted from twice the distance at which vertices are interpolated.
PREDICTION_SLACK = 2.0


@dataclass(frozen=True)
class InterpolatedParticles:
    """Integrates vertices about `spacing` apart (box units) by `solver` and interpolates the rest.

    Errors are about the tolerance of `solver`. `steps` are 0 for interpolated vertices.
    """

    solver: StepDoubling
    spacing: float

    def solve(
        self,
        field: Field,
        points: Tensor,
        times: Tensor,
        *,
        on_progress: OnProgress | None = None,
        parameters: Sequence[Tensor] = (),  # noqa: ARG002 - gives no gradients
    ) -> Solution:
        """See `Solver.solve`; points [V, 3]. Gives no gradients."""
        vertices = points.cpu().numpy()  # [V, 3]
        positions = points.new_empty(len(times), *points.shape)  # [K, V, 3]
        steps = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        evaluations = 0
        integrated = np.zeros(len(vertices), bool)  # [V]
        inaccurate = np.arange(len(vertices))  # vertices that cannot be interpolated yet
        for distance in (self.spacing, self.spacing / 2, 0.0):
            new = one_per_cell(vertices, inaccurate, distance)
            count = integrated.sum() + len(new)
            if count > MAX_FRACTION * len(vertices) or count <= NEIGHBORS:
                new = np.flatnonzero(~integrated)
            integrated[new] = True
            solution = self.solver.solve(field, points[new], times, on_progress=on_progress)
            positions[:, new], steps[new] = solution.positions, solution.steps
            evaluations += solution.evaluations
            if distance == 0 or integrated.all():
                break
            inaccurate = _inaccurate(
                vertices, positions, integrated, PREDICTION_SLACK * self.solver.tolerance
            )
            if not len(inaccurate):
                break
        if not integrated.all():
            interpolate = LocalRBF.fit(vertices[integrated], vertices[~integrated])
            positions[:, ~integrated] = interpolate(positions[:, integrated])
        return Solution(positions, evaluations, steps)


def one_per_cell(points: NDArray[np.floating], subset: NDArray[np.int64], size: float) -> NDArray[np.int64]:
    """Indices of one point per cell of a grid of cell size `size`: the one nearest to the center of its cell.

    Selects from points[subset], points [V, 3]; all of `subset` for size 0.
    """
    if size == 0 or not len(subset):
        return subset
    cells = (points[subset] - points.min(axis=0)) / size  # [S, 3]
    corner = np.floor(cells).astype(np.int64)
    key = (corner[:, 0] * 2**20 + corner[:, 1]) * 2**20 + corner[:, 2]
    order = np.lexsort((((cells - corner - 0.5) ** 2).sum(axis=1), key))
    first = np.diff(key[order], prepend=-1) != 0
    return np.sort(subset[order[first]])


def _inaccurate(
    vertices: NDArray[np.floating], positions: Tensor, integrated: NDArray[np.bool_], tolerance: float
) -> NDArray[np.int64]:
    """Vertices that are not integrated and near particles whose leave-one-out error exceeds `tolerance`."""
    known, trajectories = vertices[integrated], positions[:, integrated]  # [M, 3], [K, M, 3]
    others = np.flatnonzero(~integrated)
    predicted = LocalRBF.fit(known, known, leave_one_out=True)(trajectories)
    error = (predicted - trajectories).norm(dim=2).amax(dim=0).cpu().numpy()  # [M]
    _, near = cKDTree(known).query(vertices[others], NEARBY, workers=-1)  # [O, 3]
    result: NDArray[np.int64] = others[error[near].max(axis=1) > tolerance]
    return result
