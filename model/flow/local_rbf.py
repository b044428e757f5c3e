"""Local spline interpolation of scattered data.

Every query has its own polyharmonic spline through its nearest known points, |r|³ and a linear polynomial
(Duchon 1977), as in methods that solve differential equations on scattered points (Wright and Fornberg 2006).
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

NEIGHBORS = 12  # 20 and 32 were not more accurate and far slower
CHUNK_SIZE = 32_768  # queries whose systems are solved together; bounds the memory


@dataclass(frozen=True)
class LocalRBF:
    """Interpolation weights: the value at query q is Σ_i weights[q, i] · values[neighbors[q, i]]."""

    neighbors: NDArray[np.int64]  # [Q, k]
    weights: NDArray[np.float32]  # [Q, k]

    @classmethod
    def fit(
        cls, known: NDArray[np.floating], queries: NDArray[np.floating], leave_one_out: bool = False
    ) -> "LocalRBF":
        """Weights for `queries` [Q, 3], given more than `NEIGHBORS` known points [M, 3].

        With `leave_one_out` the nearest known point is not used: with the known points as queries, each is
        predicted from the others.
        """
        skipped = 1 if leave_one_out else 0
        nearest = np.asarray(cKDTree(known).query(queries, NEIGHBORS + skipped, workers=-1)[1])
        neighbors = nearest[:, skipped:]  # [Q, k]
        chunks = [slice(start, start + CHUNK_SIZE) for start in range(0, len(queries), CHUNK_SIZE)]
        weights = [_weights(known[neighbors[chunk]] - queries[chunk, None]) for chunk in chunks]
        return cls(neighbors, np.concatenate(weights))

    def __call__(self, values: Tensor) -> Tensor:
        """Interpolate values [K, M, 3] at the known points: [K, Q, 3]."""
        frames, _, dim = values.shape
        rows = values.transpose(0, 1).reshape(len(values[0]), -1)  # [M, 3 K]
        weights = torch.from_numpy(self.weights).to(values)  # [Q, k]
        neighbors = torch.from_numpy(self.neighbors).to(values.device)  # [Q, k]
        # A weighted sum of rows without a copy of the rows for every query.
        result = F.embedding_bag(neighbors, rows, per_sample_weights=weights, mode="sum")  # [Q, 3 K]
        return result.reshape(-1, frames, dim).transpose(0, 1)


def _weights(offsets: NDArray[np.floating]) -> NDArray[np.float32]:
    """Weights [Q, k] of neighbors at `offsets` [Q, k, 3] from their query."""
    near = torch.from_numpy(np.asarray(offsets, np.float64))
    near = near / near.norm(dim=2).amax(dim=1).clamp(min=1e-30)[:, None, None]  # the farthest at distance 1
    count, size = near.shape[:2]
    polynomial = torch.cat([torch.ones_like(near[..., :1]), near], dim=2)  # [Q, k, 4]
    system = near.new_zeros(count, size + 4, size + 4)
    system[:, :size, :size] = torch.cdist(near, near) ** 3
    system[:, :size, size:] = polynomial
    system[:, size:, :size] = polynomial.transpose(1, 2)
    # Coplanar neighbors leave a coefficient undetermined: regularization selects the smallest.
    system[:, size:, size:] = -1e-9 * torch.eye(4, dtype=near.dtype)
    right = near.new_zeros(count, size + 4, 1)
    right[:, :size, 0] = near.norm(dim=2) ** 3
    right[:, size] = 1
    solved: NDArray[np.float32] = torch.linalg.solve(system, right)[:, :size, 0].float().numpy()
    return solved
