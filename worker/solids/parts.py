"""Solids made of parts, as tensors: the signed distance of many points to many solids at once, on any device.

A part lies along y of its own frame. It is a box, an ellipsoid, or a body of revolution: a rectangle of half
sides `half[0]` and `half[1]` turned around y at the distance `ring` (0: a cylinder, else a tube or a torus).
Edges are rounded by `rounding` (all of `half[0]`: a capsule) and the cross-section grows along y by `taper`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

BOX, REVOLVED, ELLIPSOID = 0, 1, 2
NOWHERE = 1e3  # the distance of a part that is not there


@dataclass(frozen=True)
class Solids:
    """S solids of at most K parts each."""

    kind: Tensor  # [S, K], BOX, REVOLVED or ELLIPSOID
    sign: Tensor  # [S, K], 1 is added, -1 is cut out of what is added, 0 is not there
    rotation: Tensor  # [S, K, 3, 3], from the part's frame into the solid's
    centre: Tensor  # [S, K, 3]
    half: Tensor  # [S, K, 3], half the sides, or the half axes
    rounding: Tensor  # [S, K], radius of the edges, at most the smallest half side
    ring: Tensor  # [S, K]
    taper: Tensor  # [S, K], in (-1, 1)
    blend: Tensor  # [S], width over which added parts run into each other, > 0
    waves: Tensor  # [S, W, 7], of the space that the solid lies in: frequency [3], phase, amplitude [3]

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, rows: Tensor) -> "Solids":
        return Solids(*(getattr(self, field.name)[rows] for field in fields(self)))

    def to(self, device: torch.device | str) -> "Solids":
        return Solids(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))

    def distance(self, points: Tensor) -> Tensor:
        """About the distance of points [S, P, 3] to the surface, negative inside: [S, P].

        Exact for one box, cylinder, capsule, tube or torus alone. Otherwise the sign is right and the size
        about so, near the surface; divide by the length of the gradient.
        """
        places = self._in_frames(points)  # 3 × [S, P, K]
        distances = self._of_parts(*places)
        sign = self.sign[:, None]  # [S, 1, K]
        blend = self.blend[:, None]  # [S, 1]
        added = distances.masked_fill(sign <= 0, NOWHERE)
        union = -blend * torch.logsumexp(-added / blend[..., None], dim=2)
        removed = distances.masked_fill(sign >= 0, NOWHERE).amin(dim=2)
        return torch.maximum(union, -removed)

    def distance_and_normal(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The distance [S, P] in units of its own slope, and the direction [S, P, 3] in which it grows."""
        with torch.enable_grad():
            points = points.detach().requires_grad_()
            distance = self.distance(points)
            (slope,) = torch.autograd.grad(distance.sum(), points)
        steepness = slope.norm(dim=-1, keepdim=True).clamp_min(1e-3)  # [S, P, 1]
        return distance.detach() / steepness[..., 0], slope / steepness

    def _in_frames(self, points: Tensor) -> tuple[Tensor, ...]:
        """Coordinates in the frame of each part."""
        frequency, phase, amplitude = self.waves[..., :3], self.waves[..., 3], self.waves[..., 4:]
        angles = torch.baddbmm(phase[:, None], points, frequency.transpose(1, 2))  # [S, P, W]
        points = torch.baddbmm(points, angles.sin(), amplitude)
        shift = torch.einsum("skc,skcd->skd", self.centre, self.rotation)  # [S, K, 3]
        return tuple(
            torch.baddbmm(-shift[:, None, :, axis], points, self.rotation[..., axis].transpose(1, 2))
            for axis in range(3)
        )

    def _of_parts(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Distances to each part: [S, P, K]."""
        kind = self.kind[:, None]  # [S, 1, K]
        half = self.half[:, None].unbind(dim=-1)  # 3 × [S, 1, K]
        rounding = self.rounding[:, None]
        is_revolved = kind == REVOLVED
        across = ((x * x + z * z + 1e-12).sqrt() - self.ring[:, None]).abs()
        wide = 1 + self.taper[:, None] * (y / half[1]).clamp(-1, 1)
        sides = (
            torch.where(is_revolved, across, x.abs()) - half[0] * wide + rounding,
            y.abs() - half[1] + rounding,
            torch.where(is_revolved, -NOWHERE, z.abs() - half[2] * wide + rounding),
        )
        outside = torch.stack([side.clamp_min(0).square() for side in sides]).sum(dim=0)
        deepest = torch.maximum(torch.maximum(sides[0], sides[1]), sides[2]).clamp_max(0)
        boxes = (outside + 1e-12).sqrt() + deepest - rounding
        return torch.where(kind == ELLIPSOID, _ellipsoids((x, y, z), half), boxes)


def _ellipsoids(places: Sequence[Tensor], half: Sequence[Tensor]) -> Tensor:
    """First-order distances; exact in sign."""
    first = [place / side for place, side in zip(places, half, strict=True)]
    once = _length(first)
    twice = _length([place / side for place, side in zip(first, half, strict=True)])
    return once * (once - 1) / twice


def _length(coordinates: Sequence[Tensor]) -> Tensor:
    x, y, z = coordinates
    return (x * x + y * y + z * z + 1e-12).sqrt()
