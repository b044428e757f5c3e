"""Multi-resolution features of the points of a cloud.

    cloud = neighborhoods(points)               # points [B, N, 3] in random order
    features = PointFeatures()(cloud)           # Features: .levels [B, n_l, C_l] each, .overall [B, C]
    read = NearbyPoints(CHANNELS)               # pools them at queries
    near = nearest(points, queries)             # [B, Q]
    seen = read(queries, near, read.keys(features, cloud))   # [B, Q, read.size]

An encoder from fine to coarse levels and a decoder back, with message passing between neighbors on each
level. All lengths are in units of the local spacing, so that features are invariant to translation and scale.
Levels are those of PointNet++ (Qi et al. 2017), layers similar to those of DGCNN (Wang et al. 2019).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.edge_maximum import max_over_edges
from model.networks.neighborhoods import LEVELS, Edges, Neighborhoods

CHANNELS = (64, 96, 128, 128)  # of each level
EDGE = 8  # features of an edge


@dataclass(frozen=True)
class Features:
    levels: tuple[Tensor, ...]  # [B, sizes[l], C_l]
    overall: Tensor  # [B, C], global features


class EdgeLayer(nn.Module):
    """Message passing from sources [B, n, c_source] to targets [B, M, c_target] along edges: [B, M, c].

    A linear layer of source and edge, the maximum over edges, and a residual MLP on the targets, as in
    PointNeXt (Qian et al. 2022): only the first layer is evaluated per edge.
    """

    def __init__(self, c_source: int, c_target: int, c: int) -> None:
        super().__init__()
        self.source = nn.Linear(c_source, c)
        self.edge = nn.Linear(EDGE, c, bias=False)
        self.message = nn.Linear(c, c)
        self.skip = nn.Linear(c_target, c) if c_target != c else nn.Identity()
        self.norm = nn.LayerNorm(c)
        self.mlp = nn.Sequential(nn.Linear(c, 2 * c), nn.ReLU(), nn.Linear(2 * c, c))

    def forward(self, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        greatest = max_over_edges(self.source(sources).flatten(0, 1), self.edge.weight, edges)
        y = self.skip(targets) + self.message(F.relu(greatest))  # [B, M, c]
        result: Tensor = y + self.mlp(self.norm(y))
        return result


class PointFeatures(nn.Module):
    """Features of B clouds of N points each: down through the levels and up again, with skip connections."""

    def __init__(self, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__()
        self.channels = channels
        self.down = nn.ModuleList(EdgeLayer(before, before, c) for before, c in pairwise((1, *channels)))
        self.inner = nn.ModuleList(EdgeLayer(c, c, c) for c in channels)
        self.overall = nn.Sequential(
            nn.Linear(channels[-1], channels[-1]), nn.ReLU(), nn.Linear(channels[-1], channels[-1])
        )
        self.spread = nn.Linear(channels[-1], channels[-1])
        self.up = nn.ModuleList(EdgeLayer(coarser, c, c) for c, coarser in pairwise(channels))
        self.outer = nn.ModuleList(EdgeLayer(c, c, c) for c in channels)

    def forward(self, cloud: Neighborhoods) -> Features:
        within = [cloud.within_level(level) for level in range(LEVELS)]
        spacing = cloud.spacing[0].log()
        x = (spacing - spacing.mean(dim=1, keepdim=True))[..., None]  # [B, N, 1]
        levels: list[Tensor] = []
        for number in range(LEVELS):
            size = cloud.sizes[number]
            edges = cloud.downwards(number - 1) if number else within[0]
            x = self.down[number](x, x[:, :size], edges)
            x = self.inner[number](x, x, within[number])
            levels.append(x)
        overall: Tensor = self.overall(x).amax(dim=1)
        x = x + self.spread(overall)[:, None]
        levels[-1] = self.outer[-1](x, x, within[-1])
        for number in reversed(range(LEVELS - 1)):
            x = self.up[number](levels[number + 1], levels[number], cloud.upwards(number))
            levels[number] = self.outer[number](x, x, within[number])
        return Features(tuple(levels), overall)
