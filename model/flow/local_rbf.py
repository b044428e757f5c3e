"""Reading off at many places what is known at scattered ones: local polyharmonic splines.

Where the motion of a surface is smooth, far fewer particles than vertices tell it. Each place has its own
spline through its nearest particles: |r|³ and a linear polynomial (Duchon 1977), in local_rbf as are used to
solve equations on scattered points (Wright and Fornberg 2006).
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

NEIGHBORS = 12  # 20 and 32 were no better and cost far more
BLOCK = 32_768  # places solved together: bounds the memory of their systems


@dataclass(frozen=True)
class LocalRBF:
    """What is read where: value q is the sum of values of `members` [Q, k] times `weights` [Q, k]."""

    members: NDArray[np.int64]
    weights: NDArray[np.float32]

    def __call__(self, known: Tensor) -> Tensor:
        """Values [K, M, 3] at the known places → [K, Q, 3]."""
        frames, _, dim = known.shape
        rows = known.transpose(0, 1).reshape(len(known[0]), -1)  # [M, 3 K]
        weights = torch.from_numpy(self.weights).to(known)  # [Q, k]
        members = torch.from_numpy(self.members).to(known.device)  # [Q, k]
        # A bag of embeddings is just this: a weighted sum of rows, without a copy of each for each place.
        values = F.embedding_bag(members, rows, per_sample_weights=weights, mode="sum")  # [Q, 3 K]
        return values.reshape(-1, frames, dim).transpose(0, 1)


def local_rbf(known: NDArray[np.floating], places: NDArray[np.floating], itself: bool = True) -> LocalRBF:
    """LocalRBF at `places` [Q, 3] of more than `NEIGHBORS` `known` places [M, 3].

    Without `itself` the nearest known place is left out: with the known ones as `places`, what the others say
    of each.
    """
    tree = cKDTree(known)
    skipped = 0 if itself else 1
    nearest = np.asarray(tree.query(places, NEIGHBORS + skipped, workers=-1)[1])
    members = nearest[:, skipped:]  # [Q, k]
    weights = np.concatenate(
        [
            _weights(known[members[start : start + BLOCK]] - places[start : start + BLOCK, None])
            for start in range(0, len(places), BLOCK)
        ]
    )
    return LocalRBF(members, weights)


def _weights(offsets: NDArray[np.floating]) -> NDArray[np.float32]:
    """Weights [Q, k] of neighbours at `offsets` [Q, k, 3] from their place."""
    near = torch.from_numpy(np.asarray(offsets, np.float64))
    near = near / near.norm(dim=2).amax(dim=1).clamp(min=1e-30)[:, None, None]  # the largest at distance 1
    count, size = near.shape[:2]
    polynomial = torch.cat([torch.ones_like(near[..., :1]), near], dim=2)  # [Q, k, 4]
    system = near.new_zeros(count, size + 4, size + 4)
    system[:, :size, :size] = torch.cdist(near, near) ** 3
    system[:, :size, size:] = polynomial
    system[:, size:, :size] = polynomial.transpose(1, 2)
    # Neighbours in one plane leave a coefficient open: a hair off zero takes the smallest.
    system[:, size:, size:] = -1e-9 * torch.eye(4, dtype=near.dtype)
    right = near.new_zeros(count, size + 4, 1)
    right[:, :size, 0] = near.norm(dim=2) ** 3
    right[:, size] = 1
    solved: NDArray[np.float32] = torch.linalg.solve(system, right)[:, :size, 0].float().numpy()
    return solved
