"""Class-agnostic occupancy from a point cloud: logits from the points near a query."""

from torch import Tensor, nn

from model.networks.nearby_points import NearbyPoints
from model.networks.neighborhoods import Neighborhoods, nearest, neighborhoods
from model.networks.point_features import CHANNELS, PointFeatures


class LocalOccupancy(nn.Module):
    """points [B, N, 3] in random order, queries [B, Q, 3] → occupancy logits [B, Q]."""

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
        """The same for given neighbourhoods and nearest points [B, Q]: logits [B, Q]."""
        features = self.features(cloud)
        seen = self.nearby(queries, near, cloud, self.nearby.keys(features))
        logits: Tensor = self.rest(self.first(seen) + self.overall(features.overall)[:, None])
        return logits.squeeze(-1)
