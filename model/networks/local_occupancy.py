"""Class-agnostic occupancy from a point cloud, based on the points near a query."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from model.networks.nearby_points import NearbyPoints
from model.networks.neighborhoods import Neighborhoods, nearest, neighborhoods
from model.networks.point_features import CHANNELS, PointFeatures

ROWS, GPU_ROWS = 1024, 65_536  # queries evaluated together on a CPU and on a GPU


class LocalOccupancy(nn.Module):
    """points [B, N, 3] in random order, queries [B, Q, 3] → occupancy logits [B, Q].

    Invariant to translation and scale; N is at least 16.
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
        """Logits [B, Q] for given neighborhoods and the nearest point of each query [B, Q]."""
        features = self.features(cloud)
        seen = self.nearby(queries, near, self.nearby.keys(features, cloud))
        logits: Tensor = self.rest(self.first(seen) + self.overall(features.overall)[:, None])
        return logits.squeeze(-1)

    @torch.no_grad()
    def precompute(self, points: Tensor, seed: int = 0) -> Callable[[Tensor], Tensor]:
        """A function of queries [Q, 3] that returns logits [Q] for one cloud [N, 3], in any order of points.

        The features of the points are computed once, here.
        """
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
        cloud = neighborhoods(points[order.to(points.device)][None])
        features = self.features(cloud)
        keys, overall = self.nearby.keys(features, cloud), self.overall(features.overall)
        chunk = ROWS if points.device.type == "cpu" else GPU_ROWS

        @torch.no_grad()
        def occupancy(queries: Tensor) -> Tensor:
            parts = []
            for part in torch.split(queries.to(cloud.points.dtype), chunk):
                near = cloud.nearest(part[None])
                parts.append(self.rest(self.first(self.nearby(part[None], near, keys)) + overall).flatten())
            return torch.cat(parts) if parts else queries.new_zeros(0)

        return occupancy
