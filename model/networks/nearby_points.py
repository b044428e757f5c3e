"""A query attends to the points near it, on every level."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.neighborhoods import Neighborhoods, offset_features
from model.networks.point_features import CHANNELS, Features
from model.networks.rows import take

NEAR = 12  # points of a level that a query looks at, at most
DIRECTIONS = 8


@dataclass(frozen=True)
class Keys:
    """What the points of one level offer to queries; worked out once for all of them."""

    key: Tensor  # [B · n, width + 3 DIRECTIONS]
    place: Tensor  # [B · n, 5]: coordinates, 1 / spacing, log spacing relative to the mean
    around: Tensor  # [B · N, K]: rows of the level near each point of the cloud


class NearbyPoints(nn.Module):
    """What queries make of the features of the points near them: `size` numbers.

    Each point offers `DIRECTIONS` linear functions of the place (the distance from its tangent plane is one
    such), which go with the offset into one hidden layer; attention over the points of a level pools it.
    """

    def __init__(self, channels: tuple[int, ...] = CHANNELS, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.width, self.heads, self.size = width, heads, width * len(channels)
        self.key = nn.ModuleList(nn.Linear(c, width + 3 * DIRECTIONS) for c in channels)
        self.place = nn.ModuleList(nn.Linear(DIRECTIONS + 8, width, bias=False) for _ in channels)
        self.weight = nn.ModuleList(nn.Linear(width, heads) for _ in channels)

    def keys(self, features: Features, cloud: Neighborhoods) -> list[Keys]:
        """Of each level."""
        return [
            Keys(
                key(features.levels[level]).flatten(0, 1),
                _places(cloud, level),
                cloud.around[level][..., :NEAR].flatten(0, 1),
            )
            for level, key in enumerate(self.key)
        ]

    def forward(self, queries: Tensor, near: Tensor, keys: list[Keys]) -> Tensor:
        """[B, Q, size] for queries [B, Q, 3] and their nearest points `near` [B, Q]."""
        return torch.cat(
            [self._level(level, queries, near, keys[level]) for level in range(len(keys))], dim=-1
        )

    def _level(self, level: int, queries: Tensor, near: Tensor, keys: Keys) -> Tensor:
        rows = keys.around[near]  # [B, Q, K]
        known = keys.place[rows]  # [B, Q, K, 5]
        offsets = (queries[:, :, None] - known[..., :3]) * known[..., 3:4]
        key = take(keys.key, rows)  # [B, Q, K, width + 3 D]
        place = torch.cat([offset_features(offsets), known[..., 4:]], dim=-1).to(key.dtype)  # [B, Q, K, 8]
        directions = key[..., self.width :].reshape(*rows.shape, 3, DIRECTIONS)
        along = directions[..., 0, :] * place[..., 0:1]  # [B, Q, K, D]
        for axis in (1, 2):
            along = torch.addcmul(along, directions[..., axis, :], place[..., axis : axis + 1])
        hidden = F.relu(key[..., : self.width] + self.place[level](torch.cat([along, place], dim=-1)))
        return self._pool(self.weight[level](hidden), hidden)

    def _pool(self, logits: Tensor, hidden: Tensor) -> Tensor:
        """Means over K of hidden [B, Q, K, width]: each head's share, by its own weights [B, Q, K, heads]."""
        # Softmax by hand: along an axis that is not the last, a CPU takes five times as long for F.softmax.
        weights = (logits - logits.amax(dim=2, keepdim=True).detach()).exp().to(hidden.dtype)
        parts = weights[..., None] * hidden.reshape(*hidden.shape[:3], self.heads, self.width // self.heads)
        with torch.autocast(parts.device.type, enabled=False):  # which would first write a float32 copy
            pooled: Tensor = parts.sum(dim=2) / weights.sum(dim=2)[..., None]
        return pooled.flatten(-2)


def _places(cloud: Neighborhoods, level: int) -> Tensor:
    spacing = cloud.spacing[level]  # [B, n]
    relative = spacing.log() - spacing.log().mean(dim=1, keepdim=True)
    places = torch.cat([cloud.level(level), (1 / spacing)[..., None], relative[..., None]], dim=-1)
    return places.flatten(0, 1)
