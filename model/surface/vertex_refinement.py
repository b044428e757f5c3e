"""Refinement of extracted surfaces by gradient descent on their vertices.

After Mescheder et al., "Occupancy Networks", CVPR 2019, section 3.3: at random points of the faces the
occupancy approaches the threshold, and the normals of the faces the direction in which it falls.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEARNING_RATE = 1e-4  # of RMSprop, in longest sides of the box
NORMAL_WEIGHT = 0.01
CONCENTRATION = 0.5  # of the Dirichlet distribution of points within a face
FACES_AT_ONCE = 16_384  # whose second derivatives are kept in memory
TINY = 1e-10


def refine_vertices(
    occupancy: Callable[[Tensor], Tensor],
    vertices: NDArray[np.floating],
    faces: NDArray[np.integer],
    threshold: float,
    steps: int,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> NDArray[np.float64]:
    """Vertices [V, 3] after `steps` of gradient descent; `faces` [F, 3] are oriented outwards.

    `occupancy` maps points [P, 3] to logits [P] and is differentiated twice: none of its constants may be
    inference tensors. `threshold` is a probability.
    """
    rng = np.random.default_rng(seed)
    with torch.inference_mode(mode=False), torch.enable_grad():
        corners = torch.from_numpy(faces.astype(np.int64)).to(device)  # [F, 3]
        moved = torch.from_numpy(vertices.astype(np.float32)).to(device).requires_grad_()  # [V, 3]
        optimizer = torch.optim.RMSprop([moved], LEARNING_RATE)
        for _ in range(steps):
            drawn = rng.dirichlet([CONCENTRATION] * 3, len(faces)).astype(np.float32)
            weights = torch.from_numpy(drawn).to(device)  # [F, 3]
            optimizer.zero_grad()
            parts = zip(corners.split(FACES_AT_ONCE), weights.split(FACES_AT_ONCE), strict=True)
            for part, shares in parts:
                (_loss(occupancy, moved[part], shares, threshold) / len(faces)).backward()
            optimizer.step()
        return moved.detach().cpu().numpy().astype(np.float64)


def _loss(occupancy: Callable[[Tensor], Tensor], corners: Tensor, shares: Tensor, threshold: float) -> Tensor:
    """Summed over faces with corners [F, 3, 3], at the points with barycentric coordinates [F, 3]."""
    points = (corners * shares[..., None]).sum(dim=1)  # [F, 3]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1])  # [F, 3]
    probabilities = occupancy(points).sigmoid()  # [F]
    (uphill,) = torch.autograd.grad(probabilities.sum(), points, create_graph=True)
    bend = (_unit(normals) + _unit(uphill)).square().sum(dim=1)  # [F]
    loss: Tensor = ((probabilities - threshold).square() + NORMAL_WEIGHT * bend).sum()
    return loss


def _unit(vectors: Tensor) -> Tensor:
    # The square root has no derivative at 0.
    return vectors / (vectors.square().sum(dim=1, keepdim=True) + TINY**2).sqrt().clamp_min(TINY)
