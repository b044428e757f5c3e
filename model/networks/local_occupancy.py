"""Class-agnostic occupancy from a point cloud: logits from the points near a query."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from model.networks.nearby_points import NearbyPoints
from model.networks.neighborhoods import Neighborhoods, nearest, neighborhoods
from model.networks.point_features import CHANNELS, PointFeatures

ROWS, GPU_ROWS = 1024, 65_536  # queries evaluated together: what a CPU's cache holds, what fills a GPU


class LocalOccupancy(nn.Module):
    """points [B, N, 3] in random order, queries [B, Q, 3] → occupancy logits [B, Q].

    The scale and place of a cloud do not matter; N may be anything from 16 on.
    """

    def __init__(self, channels: tuple[int, ...] = CHANNELS, width: int = 64, hidden: int = 128) -> None:
        super().__init__()
        self.features = PointFeatures(channels)
        self.nearby = NearbyPoints(channels, width)
        self.overall = nn.Linear(channels[-1], hidden)
        self.first = nn.Linear(self.nearby.size, hidden)
        self.rest = nn.Sequential(
            nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden // 2), nn.ReLU(),
            nn.Linear(hidden // 2, 1),
        )  # fmt: skip

    def forward(self, points: Tensor, queries: Tensor) -> Tensor:
        return self.decode(queries, nearest(points, queries), neighborhoods(points))

    def decode(self, queries: Tensor, near: Tensor, cloud: Neighborhoods) -> Tensor:
        """The same for given neighborhoods and nearest points [B, Q]: logits [B, Q]."""
        features = self.features(cloud)
        seen = self.nearby(queries, near, self.nearby.keys(features, cloud))
        logits: Tensor = self.rest(self.first(seen) + self.overall(features.overall)[:, None])
        return logits.squeeze(-1)

    @torch.no_grad()
    def bind(self, points: Tensor, seed: int = 0) -> Callable[[Tensor], Tensor]:
        """A function of queries [Q, 3] that gives logits [Q], for one cloud [N, 3] in any order.

        The features of the points are worked out here, once.
        """
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
        cloud = neighborhoods(points[order.to(points.device)][None])
        features = self.features(cloud)
        keys, overall = self.nearby.keys(features, cloud), self.overall(features.overall)
        together = ROWS if points.device.type == "cpu" else GPU_ROWS

        @torch.no_grad()
        def occupancy(queries: Tensor) -> Tensor:
            parts = []
            for part in torch.split(queries.to(cloud.points.dtype), together):
                near = nearest(cloud.points, part[None])
                parts.append(self.rest(self.first(self.nearby(part[None], near, keys)) + overall).flatten())
            return torch.cat(parts) if parts else queries.new_zeros(0)

        return occupancy
