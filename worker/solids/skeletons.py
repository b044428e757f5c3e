"""Jointed things: parts on a tree of joints, as tensors of equal size, and their poses.

A part lies along +y of its own frame, whose origin is the joint to its parent.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

PARTS = 24  # most parts of one thing; the rest of its rows is padding of no area
UP = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Skeletons:
    """S things of K parts. The first row of each is its root, whose parent is K, which stands for the
    world.
    """

    parent: Tensor  # [S, K], integers; smaller than the row itself, or K
    rotation: Tensor  # [S, K, 3, 3], of a part's frame in its parent's, at rest
    joint: Tensor  # [S, K, 3], where a part's origin is in its parent's frame
    half: Tensor  # [S, K, 3], half the sides of the box around a part; the second is along the part
    rounding: Tensor  # [S, K], 0 a box … 1 a capsule (radius of edges in units of the smallest half side)
    ellipsoid: Tensor  # [S, K], whether it is an ellipsoid instead
    taper: Tensor  # [S, K], the cross-section grows by this share from the middle to the end
    swing: Tensor  # [S, K, 3], how readily a joint turns around each axis
    slide: Tensor  # [S, K], how readily it leaves its place
    skin: Tensor  # [S], width over which the parts' motions blend; 0: rigid parts

    def __len__(self) -> int:
        return len(self.parent)

    def __getitem__(self, rows: Tensor) -> "Skeletons":
        return Skeletons(*(getattr(self, field.name)[rows] for field in fields(self)))

    def to(self, device: torch.device | str) -> "Skeletons":
        return Skeletons(*(getattr(self, field.name).to(device) for field in fields(self)))

    @property
    def middle(self) -> Tensor:
        """Centres of the parts in their own frames: [S, K, 3]."""
        return self.half * self.half.new_tensor(UP)


def pose(skeletons: Skeletons, rotation: Tensor, joint: Tensor) -> tuple[Tensor, Tensor]:
    """Frames of the parts in the world, from those in their parents': rotations [S, K, 3, 3], origins [S,
    K, 3].

    Every part is put together with its parent, then with its parent's parent's parent, and so on: five
    products instead of one after another along the tree.
    """
    count, parts = joint.shape[:2]
    eye = torch.eye(3, device=joint.device, dtype=joint.dtype).expand(count, 1, 3, 3)
    rotation, origin = (
        torch.cat([rotation, eye], dim=1),
        torch.cat([joint, joint.new_zeros(count, 1, 3)], dim=1),
    )
    above = torch.cat([skeletons.parent, skeletons.parent.new_full((count, 1), parts)], dim=1)  # [S, K + 1]
    rows = torch.arange(count, device=joint.device)[:, None]
    for _ in range(PARTS.bit_length()):
        origin = origin[rows, above] + (rotation[rows, above] @ origin[..., None])[..., 0]
        rotation = rotation[rows, above] @ rotation
        above = above[rows, above]
    return rotation[:, :parts], origin[:, :parts]
