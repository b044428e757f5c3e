"""Rotations as tensors."""

import torch
from torch import Tensor


def rotations(vectors: Tensor) -> Tensor:
    """Matrices [..., 3, 3] of rotation vectors [..., 3] in radians (Rodrigues)."""
    angle = vectors.norm(dim=-1, keepdim=True).clamp(min=1e-8)  # [..., 1]
    x, y, z = (vectors / angle).unbind(dim=-1)
    o = torch.zeros_like(x)
    cross = torch.stack([o, -z, y, z, o, -x, -y, x, o], dim=-1).reshape(*vectors.shape[:-1], 3, 3)
    angle = angle[..., None]
    eye = torch.eye(3, device=vectors.device, dtype=vectors.dtype)
    turned: Tensor = eye + angle.sin() * cross + (1 - angle.cos()) * (cross @ cross)
    return turned


def random_rotations(count: int, generator: torch.Generator) -> Tensor:
    """[count, 3, 3], uniform over all of them, on the device of the generator."""
    w, x, y, z = torch.nn.functional.normalize(
        torch.randn(count, 4, device=generator.device, generator=generator), dim=1
    ).unbind(dim=1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=1).reshape(count, 3, 3)
