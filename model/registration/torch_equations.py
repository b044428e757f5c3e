"""Normal equations of several graphs at once, as dense matrices of the six unknowns of each of M nodes.

A GPU factorizes a batch of dense matrices sooner than it could follow the order of a sparse one.
"""

import numpy as np
import torch
from torch import Tensor

from model.registration.products import SIZE

RIDGE = 1e-5  # of the largest entry: what the diagonal of a matrix gets that is not positive definite


def cross_matrices(vectors: Tensor) -> Tensor:
    """[v]× [..., 3, 3] of vectors [..., 3]: [v]× w = v × w."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    rows = (zero, -z, y), (z, zero, -x), (-y, x, zero)
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def turned(rotations: Tensor, vectors: Tensor) -> Tensor:
    """Rotations [..., 3, 3] after another about vectors [..., 3] by their lengths in radians (Rodrigues)."""
    angle = vectors.norm(dim=-1)[..., None, None] + 1e-12
    turn = cross_matrices(vectors)
    once = turn @ rotations
    result: Tensor = rotations + angle.sin() / angle * once + (1 - angle.cos()) / angle**2 * (turn @ once)
    return result


class Equations:
    """Normal equations of B graphs of M nodes: matrix [B, M², 36] in blocks, right side [B, M, 6]."""

    def __init__(self, batch: int, nodes: int, like: Tensor) -> None:
        self.nodes = nodes
        self.matrix = like.new_zeros(batch, nodes * nodes, SIZE * SIZE)
        self.right = like.new_zeros(batch, nodes, SIZE)

    def add(self, nodes: Tensor, weights: Tensor, arms: Tensor, metric: Tensor, force: Tensor) -> None:
        """Add Σ_s rᵀ metric r, as `kernels.add_samples`.

        nodes, weights [S, K]; arms [B, S, K, 3], metric [B, S, 3, 3], force [B, S, 3].
        """
        batch, count, k, _ = arms.shape
        jacobian = arms.new_zeros(batch, count, 3, k, SIZE)
        jacobian[..., :3] = (-weights[:, :, None, None] * cross_matrices(arms)).transpose(2, 3)
        jacobian[..., 3:] = (
            weights[:, None, :, None] * torch.eye(3, device=arms.device, dtype=arms.dtype)[:, None]
        )
        flat = jacobian.flatten(3)  # [B, S, 3, 6 K]
        products = (flat.transpose(2, 3) @ (metric @ flat)).view(batch, count, k, SIZE, k, SIZE)
        blocks = products.transpose(3, 4).reshape(batch, count * k * k, SIZE * SIZE)
        pairs = nodes[:, :, None] * self.nodes + nodes[:, None]  # [S, K, K]
        self.matrix.index_add_(1, pairs.flatten(), blocks)
        gradient = (flat.transpose(2, 3) @ force[..., None]).view(batch, count * k, SIZE)
        self.right.index_add_(1, nodes.flatten(), gradient, alpha=-1)

    def dense(self) -> Tensor:
        """The matrices [B, 6 M, 6 M]."""
        blocks = self.matrix.view(-1, self.nodes, self.nodes, SIZE, SIZE).transpose(2, 3)
        return blocks.reshape(len(blocks), SIZE * self.nodes, SIZE * self.nodes)

    def solve(self, diagonal: Tensor) -> Tensor:
        """x [B, M, 6], with `diagonal` [B, M, 6] added to the matrix.

        In double precision where single is not enough, and with a ridge where the matrix itself is not: only
        rounding says how a part moves that no point is near. Raises LinAlgError where it is not positive
        definite even so.
        """
        failed = torch.zeros(len(self.matrix), dtype=torch.int32, device=self.matrix.device)
        for dtype, ridge in ((self.matrix.dtype, 0.0), (torch.float64, 0.0), (torch.float64, RIDGE)):
            matrix = self.dense().to(dtype)
            corners = matrix.diagonal(dim1=1, dim2=2)  # [B, 6 M]
            largest = corners.amax(1, keepdim=True)  # [B, 1]
            corners.add_(diagonal.flatten(1)).add_(ridge * largest * (failed > 0)[:, None])
            factor, failed = torch.linalg.cholesky_ex(matrix)
            if not failed.any():
                right = self.right.flatten(1)[..., None].to(dtype)
                return torch.cholesky_solve(right, factor).view_as(self.right)
        raise np.linalg.LinAlgError("the normal equations are not positive definite")
