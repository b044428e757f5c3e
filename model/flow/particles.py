"""Carrying a dense surface by few particles: some vertices are solved for, splines give the others.

The plain twin is `integrate` for every vertex. How well the particles tell the motion is measured, not hoped
for: each is predicted from its neighbours, and where that fails more vertices become particles, in the end
all of that place. A surface torn between two motions costs as much as it must.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from model.flow.fields import RowField
from model.flow.local_rbf import NEIGHBORS, local_rbf
from model.flow.step_doubling import Watch, integrate

NEAR = 3  # particles whose predictions speak for a vertex
WORTH = 0.6  # of the vertices: where more would be particles, all are
# A particle is predicted from twice as far as a vertex between particles is, so it is further off.
PESSIMISM = 2.0


def integrate_particles(
    field: RowField,
    vertices: Tensor,
    times: Tensor,
    tolerance: float,
    spacing: float,
    watch: Watch | None = None,
) -> Tensor:
    """Where vertices [V, 3] of time 0 are at `times` [K] ≥ 0, to about `tolerance`: [K, V, 3].

    The first particles are about `spacing` apart; all in the box's units. Raises FlowError as `integrate`.
    """
    places = vertices.cpu().numpy()  # [V, 3]
    positions = vertices.new_empty(len(times), *vertices.shape)  # [K, V, 3]
    carried = np.zeros(len(places), bool)  # [V]
    wanting = np.arange(len(places))  # vertices that the particles so far do not tell
    for distance in (spacing, spacing / 2, 0.0):
        new = one_per_cell(places, wanting, distance)
        if carried.sum() + len(new) > WORTH * len(places) or carried.sum() + len(new) <= NEIGHBORS:
            new = np.flatnonzero(~carried)
        carried[new] = True
        positions[:, new] = integrate(field, vertices[new], times, tolerance, watch=watch).positions
        if carried.all():
            return positions
        if distance == 0:
            break
        wanting = _untold(places, positions, carried, PESSIMISM * tolerance)
        if not len(wanting):
            break
    positions[:, ~carried] = local_rbf(places[carried], places[~carried])(positions[:, carried])
    return positions


def one_per_cell(places: NDArray[np.floating], among: NDArray[np.int64], side: float) -> NDArray[np.int64]:
    """Of places [V, 3] those `among`, the one nearest the middle of each cell of a grid; all at side 0."""
    if side == 0 or not len(among):
        return among
    cells = (places[among] - places.min(axis=0)) / side  # [A, 3]
    corner = np.floor(cells).astype(np.int64)
    key = (corner[:, 0] * 2**20 + corner[:, 1]) * 2**20 + corner[:, 2]
    order = np.lexsort((((cells - corner - 0.5) ** 2).sum(axis=1), key))
    first = np.diff(key[order], prepend=-1) != 0
    return np.sort(among[order[first]])


def _untold(
    places: NDArray[np.floating], positions: Tensor, carried: NDArray[np.bool_], tolerance: float
) -> NDArray[np.int64]:
    """Vertices not `carried`, near to particles that their neighbours predict worse than `tolerance`."""
    known, paths = places[carried], positions[:, carried]  # [M, 3], [K, M, 3]
    others = np.flatnonzero(~carried)
    predicted = local_rbf(known, known, itself=False)(paths)
    worst = (predicted - paths).norm(dim=2).amax(dim=0).cpu().numpy()  # [M]
    _, near = cKDTree(known).query(places[others], NEAR, workers=-1)  # [O, 3]
    untold: NDArray[np.int64] = others[worst[near].max(axis=1) > tolerance]
    return untold
