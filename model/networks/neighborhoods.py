"""Multi-level neighborhoods of a point cloud, computed once and outside of the networks.

    cloud = neighborhoods(points)       # [B, N, 3], N ≥ 16, in random order
    near = nearest(points, queries)     # [B, Q, 3] → [B, Q]

Level 0 is the complete cloud and level l the first `sizes[l]` of its points, decreasing by about the same
factor per level, so points must be in random order (`points[:, torch.randperm(N)]`). Indices refer to the
points of a level with all clouds of the batch stacked, [B · sizes[l]], as expected by `rows.take`.

A query only needs a search for its nearest point: it reads the points of all levels near that point.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from model.networks.rows import take

LEVELS = 4
WITHIN = 16  # neighbors of a point on its own level, starting with itself
AROUND = 8, 6, 6  # points of each coarser level near a point of the cloud
UPWARDS = 4  # points of the next coarser level that a point reads
FAR = 8.0  # in spacings: larger offsets are compressed
SPACING = 8  # the spacing of a point is its distance to this neighbor
COARSEST = 16, 64  # minimum and maximum size of the last level
PAIRS = 2**27  # distances in memory at once on a GPU


@dataclass(frozen=True)
class Edges:
    """Edges from each of M targets to K sources."""

    rows: Tensor  # [B, M, K], int64
    features: Tensor  # [B, M, K, 8]: `offset_features` of source − target, log(spacing of source / target)


@dataclass(frozen=True)
class Neighborhoods:
    """Neighbors of the points of B clouds on all levels; indices are those of stacked clouds."""

    points: Tensor  # [B, N, 3]
    sizes: tuple[int, ...]
    spacing: tuple[Tensor, ...]  # [B, sizes[l]] of each level
    within: tuple[Tensor, ...]  # [B, sizes[l], K] of each level: neighbors on it
    around: tuple[Tensor, ...]  # [B, N, K_l] of each level: its points nearest to each point of the cloud

    @cached_property
    def _trees(self) -> list[cKDTree]:
        return [cKDTree(points.numpy()) for points in self.points]

    def nearest(self, queries: Tensor) -> Tensor:
        """The same as `nearest`; on a CPU by trees that are kept."""
        if queries.device.type != "cpu":
            return nearest(self.points, queries)
        found = [tree.query(q.numpy())[1] for tree, q in zip(self._trees, queries.detach(), strict=True)]
        first = self.points.shape[1] * torch.arange(len(self.points))[:, None]
        return torch.from_numpy(np.stack(found)) + first

    def level(self, number: int) -> Tensor:
        """Points [B, sizes[number], 3] of a level."""
        return self.points[:, : self.sizes[number]]

    def within_level(self, number: int) -> Edges:
        return self._edges(self.within[number], number, number)

    def downwards(self, number: int) -> Edges:
        """Edges from targets on level `number` + 1 to nearby sources on level `number`."""
        return self._edges(self.within[number][:, : self.sizes[number + 1]], number, number + 1)

    def upwards(self, number: int) -> Edges:
        """Edges from targets on level `number` to the nearest sources on level `number` + 1."""
        return self._edges(self.around[number + 1][:, : self.sizes[number], :UPWARDS], number + 1, number)

    def _edges(self, rows: Tensor, source: int, target: int) -> Edges:
        """Lengths are in units of the spacing on the coarser of the two levels."""
        places = take(self.level(source).flatten(0, 1), rows)  # [B, M, K, 3]
        own = self.spacing[target][:, : rows.shape[1], None]  # [B, M, 1]
        others = take(self.spacing[source].reshape(-1, 1), rows)[..., 0]  # [B, M, K]
        unit = others if source > target else own
        offsets = (places - self.points[:, : rows.shape[1], None]) / unit[..., None]
        relative = (others / own).log()[..., None]
        return Edges(rows, torch.cat([offset_features(offsets), relative], dim=-1))


def offset_features(offsets: Tensor) -> Tensor:
    """Features [..., 7] of offsets [..., 3] in spacings: compressed offset, direction and log length.

    The length of the offset is limited to `FAR` spacings, so that outliers do not cause large activations.
    """
    lengths = offsets.norm(dim=-1, keepdim=True)
    near, direction = offsets / (1 + lengths / FAR), offsets / lengths.clamp_min(1e-6)
    return torch.cat([near, direction, lengths.log1p()], dim=-1)


def level_sizes(count: int) -> tuple[int, ...]:
    """Number of points on each level of a cloud of `count` points: 2000 → 2000, 628, 197, 62."""
    minimum, maximum = COARSEST
    last = min(count, max(minimum, min(maximum, count // 32)))
    return tuple(round(count * (last / count) ** (level / (LEVELS - 1))) for level in range(LEVELS))


def neighborhoods(points: Tensor) -> Neighborhoods:
    """Neighborhoods of B clouds [B, N, 3] in random order. Raises ValueError for fewer than 16 points."""
    if points.shape[1] < WITHIN:
        raise ValueError(f"found a cloud of {points.shape[1]} points, wanted {WITHIN} or more")
    points = points.float()
    sizes = level_sizes(points.shape[1])
    levels = [points[:, :size] for size in sizes]
    within, spacing = [], []
    for level in levels:
        rows, distances = search(level, level, WITHIN)
        spread = distances[..., SPACING]
        # Duplicate points have no spacing.
        spacing.append(spread.clamp_min(1e-3 * spread.mean(dim=1, keepdim=True)).clamp_min(1e-9))
        within.append(rows)
    around = [
        within[0],
        *(search(points, level, count)[0] for level, count in zip(levels[1:], AROUND, strict=True)),
    ]
    return Neighborhoods(points, sizes, tuple(spacing), tuple(within), tuple(around))


def nearest(points: Tensor, queries: Tensor) -> Tensor:
    """Index [B, Q] of the nearest point to each query [B, Q, 3], into the stacked points [B · N]."""
    return search(queries, points, 1)[0][..., 0]


def search(targets: Tensor, sources: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` sources [B, n, 3] nearest to each target [B, M, 3], nearest first.

    Returns indices into the stacked sources [B · n] and distances, [B, M, count] each.
    """
    found = _search_trees if targets.device.type == "cpu" else _search_pairs
    rows, distances = found(targets, sources, count)
    first = torch.arange(len(sources), device=rows.device) * sources.shape[1]
    return rows + first[:, None, None], distances


def _search_trees(targets: Tensor, sources: Tensor, count: int) -> tuple[Tensor, Tensor]:
    rows = torch.empty(*targets.shape[:2], count, dtype=torch.int64)
    distances = torch.empty(*targets.shape[:2], count)
    for b in range(len(targets)):
        tree = cKDTree(sources[b].numpy())
        found, numbers = tree.query(targets[b].numpy(), np.arange(1, count + 1))
        rows[b], distances[b] = torch.from_numpy(numbers), torch.from_numpy(found)
    return rows, distances


def _search_pairs(targets: Tensor, sources: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """By all distances, computed from differences: products cancel to the spacing of dense clouds."""
    parts = []
    for part in _chunks(targets, sources):
        squares = (part[:, :, None, 0] - sources[:, None, :, 0]).square_()  # [B, m, n]
        for axis in (1, 2):
            difference = part[:, :, None, axis] - sources[:, None, :, axis]
            squares.addcmul_(difference, difference)
        found = squares.min(dim=2, keepdim=True) if count == 1 else squares.topk(count, dim=2, largest=False)
        parts.append((found.indices, found.values.sqrt()))
    rows, distances = zip(*parts, strict=True)
    return torch.cat(rows, dim=1), torch.cat(distances, dim=1)


def _chunks(targets: Tensor, sources: Tensor) -> Iterator[Tensor]:
    step = max(1, PAIRS // (len(sources) * sources.shape[1]))
    starts = [*range(0, targets.shape[1], step), targets.shape[1]]
    for begin, end in pairwise(starts):
        yield targets[:, begin:end]
