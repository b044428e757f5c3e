"""Clouds as scanners give them of known shapes: turned, noisy, uneven, seen from one side, with outliers."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.solids.surfaces import Shapes

NOISE = 0.0005, 0.01  # standard deviations, least and most, of the longest side; one cloud in six has none
OUTLIERS = 0.02  # most of a cloud, in one of four clouds
HIDDEN = -20.0  # log weight of points that are not seen
SPARE = 5  # times as many surface points as a cloud's make it possible to leave some out


@dataclass(frozen=True)
class Clouds:
    """B clouds of N points in random order, and Q places whose occupancy is known."""

    points: Tensor  # [B, N, 3]
    queries: Tensor  # [B, Q, 3]
    occupied: Tensor  # [B, Q], bool


def draw_clouds(shapes: Shapes, points: int, queries: int, generator: torch.Generator) -> Clouds:
    """One cloud of each shape, with the faults of real ones; what is occupied stays the whole shape."""
    draw = Draw(len(shapes), shapes.surface.device, generator)
    weights = _unevenness(shapes, draw)
    if points * SPARE <= shapes.surface.shape[1]:
        weights = weights + _unseen(shapes, draw)
    chosen = _chosen(shapes.surface, weights, points, draw)
    chosen = chosen + _noise(draw) * draw.normal(points, 3)
    chosen = _with_outliers(chosen, draw)
    turns = _turns(draw)
    rows = torch.randint(
        shapes.queries.shape[1], (len(shapes), queries), generator=generator, device=draw.device
    )
    places = shapes.queries.gather(1, rows[..., None].expand(-1, -1, 3))
    return Clouds(chosen @ turns, places @ turns, shapes.occupied.gather(1, rows))


def draw_plain_clouds(
    shapes: Shapes, points: int, noise: float, turned: bool, generator: torch.Generator
) -> Clouds:
    """Uniform clouds with Gaussian noise alone, and all places of the shapes: for measuring."""
    draw = Draw(len(shapes), shapes.surface.device, generator)
    chosen = _chosen(shapes.surface, draw.uniform(1) * 0, points, draw) + noise * draw.normal(points, 3)
    turns = _rotations(draw) if turned else torch.eye(3, device=draw.device).expand(len(shapes), 3, 3)
    return Clouds(chosen @ turns, shapes.queries @ turns, shapes.occupied)


@dataclass(frozen=True)
class Draw:
    """Random numbers for each of a batch."""

    count: int
    device: torch.device
    generator: torch.Generator

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.count, *shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.generator, device=self.device)

    def chance(self, share: float) -> Tensor:
        """Which of the batch [B, 1] something happens to."""
        return self.uniform(1) < share


def _chosen(surface: Tensor, weights: Tensor, count: int, draw: Draw) -> Tensor:
    """`count` points [B, count, 3] of the surface, without replacement, by log weights [B, P] or [B, 1]."""
    available = surface.shape[1]
    gumbel = -(-draw.uniform(available).clamp_min(1e-20).log()).clamp_min(1e-20).log()
    rows = (gumbel + weights).topk(min(count, available), dim=1).indices
    # The heaviest come first; coarser levels are the first points, so that they must lie as all do.
    rows = rows.gather(1, draw.uniform(rows.shape[1]).argsort(dim=1))
    if count > available:
        more = torch.randint(
            available, (draw.count, count - available), generator=draw.generator, device=draw.device
        )
        rows = torch.cat([rows, more], dim=1)
    return surface.gather(1, rows[..., None].expand(-1, -1, 3))


def _unevenness(shapes: Shapes, draw: Draw) -> Tensor:
    """Log weights [B, P] that vary slowly over half of the shapes."""
    frequency, phase = 4 * draw.normal(3, 1), 2 * math.pi * draw.uniform(1)
    strength = 1.5 * draw.uniform(1) * draw.chance(0.5)
    return strength * (torch.bmm(shapes.surface, frequency)[..., 0] + phase).sin()


def _unseen(shapes: Shapes, draw: Draw) -> Tensor:
    """Log weights [B, P] that leave out what faces away, or lies in a ball: one shape in seven each."""
    towards = draw.normal(3, 1)
    away = torch.bmm(shapes.normals, towards)[..., 0] < 0
    middle, radius = shapes.surface[:, :1], 0.05 + 0.25 * draw.uniform(1)
    missing = (shapes.surface - middle).norm(dim=-1) < radius
    unseen: Tensor = HIDDEN * ((away & draw.chance(1 / 7)) | (missing & draw.chance(1 / 7)))
    return unseen


def _noise(draw: Draw) -> Tensor:
    """Standard deviations [B, 1, 1]."""
    least, most = NOISE
    size = least * (most / least) ** draw.uniform(1, 1)
    return size * (draw.uniform(1, 1) > 1 / 6)


def _with_outliers(points: Tensor, draw: Draw) -> Tensor:
    share = OUTLIERS * draw.uniform(1) * draw.chance(1 / 4)
    replaced = draw.uniform(points.shape[1]) < share  # [B, N]
    return torch.where(replaced[..., None], 1.3 * (draw.uniform(points.shape[1], 3) - 0.5), points)


def _turns(draw: Draw) -> Tensor:
    """Any rotation [B, 3, 3] for two of three, one about the upright axis for the others."""
    w, y = draw.normal(2).unbind(dim=-1)
    upright = _from_quaternions(torch.stack([w, 0 * w, y, 0 * y], dim=-1))
    return torch.where(draw.chance(1 / 3)[..., None], upright, _rotations(draw))


def _rotations(draw: Draw) -> Tensor:
    return _from_quaternions(draw.normal(4))


def _from_quaternions(q: Tensor) -> Tensor:
    """Rotation matrices [B, 3, 3] of quaternions [B, 4] of any length."""
    w, x, y, z = (q / q.norm(dim=-1, keepdim=True).clamp_min(1e-9)).unbind(dim=-1)
    rows = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)
