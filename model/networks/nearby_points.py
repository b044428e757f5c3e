"""Attention of a query to the points near it, on every level of a cloud."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.nearby_kernel import pool_level
from model.networks.neighborhoods import Neighborhoods, offset_features
from model.networks.point_features import CHANNELS, Features
from model.networks.rows import take

NEAR = 12  # maximum number of points of a level that a query attends to
DIRECTIONS = 8


@dataclass(frozen=True)
class Keys:
    """Features of the points of one level that queries read, computed once for all queries."""

    key: Tensor  # [B · n, width + 3 DIRECTIONS]
    place: Tensor  # [B · n, 5]: coordinates, 1 / spacing, log spacing relative to the mean
    around: Tensor  # [B · N, K]: indices of the level's points near each point of the cloud


class NearbyPoints(nn.Module):
    """Features of queries [B, Q, size] pooled from the points near them.

    Each point predicts `DIRECTIONS` linear functions of the query position (the distance from its tangent
    plane is one), which are the input of a hidden layer together with the offset; attention over the points
    of a level pools the result.
    """

    def __init__(self, channels: tuple[int, ...] = CHANNELS, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.width, self.heads, self.size = width, heads, width * len(channels)
        self.key = nn.ModuleList(nn.Linear(c, width + 3 * DIRECTIONS) for c in channels)
        self.place = nn.ModuleList(nn.Linear(DIRECTIONS + 8, width, bias=False) for _ in channels)
        self.weight = nn.ModuleList(nn.Linear(width, heads) for _ in channels)

    def keys(self, features: Features, cloud: Neighborhoods) -> list[Keys]:
        """The keys of each level."""
        return [
            Keys(
                key(features.levels[level]).flatten(0, 1),
                _places(cloud, level),
                cloud.around[level][..., :NEAR].flatten(0, 1),
            )
            for level, key in enumerate(self.key)
        ]

    def forward(self, queries: Tensor, near: Tensor, keys: list[Keys]) -> Tensor:
        """Features [B, Q, size] of queries [B, Q, 3], given the index of the nearest point of each [B, Q]."""
        return torch.cat(
            [self._level(level, queries, near, keys[level]) for level in range(len(keys))], dim=-1
        )

    def _level(self, level: int, queries: Tensor, near: Tensor, keys: Keys) -> Tensor:
        rows = keys.around[near]  # [B, Q, K]
        if not torch.is_grad_enabled() and queries.device.type == "cpu" and keys.key.dtype == torch.float32:
            return self._compiled(level, queries, rows, keys)
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

    def _compiled(self, level: int, queries: Tensor, rows: Tensor, keys: Keys) -> Tensor:
        pooled = torch.empty(*rows.shape[:2], self.width)
        outer = self.weight[level].state_dict()
        tensors = (
            *(pooled.flatten(0, 1), queries.flatten(0, 1), rows.flatten(0, 1), keys.place, keys.key),
            *(self.place[level].state_dict()["weight"].T, outer["weight"], outer["bias"]),
        )
        pool_level(*(tensor.contiguous().numpy() for tensor in tensors))
        return pooled

    def _pool(self, logits: Tensor, hidden: Tensor) -> Tensor:
        """Weighted means over K of hidden [B, Q, K, width], with the logits [B, Q, K, heads] of each head."""
        # F.softmax is five times slower on a CPU along an axis that is not the last.
        weights = (logits - logits.amax(dim=2, keepdim=True).detach()).exp().to(hidden.dtype)
        parts = weights[..., None] * hidden.reshape(*hidden.shape[:3], self.heads, self.width // self.heads)
        with torch.autocast(parts.device.type, enabled=False):  # it would make a float32 copy
            pooled: Tensor = parts.sum(dim=2) / weights.sum(dim=2)[..., None]
        return pooled.flatten(-2)


def _places(cloud: Neighborhoods, level: int) -> Tensor:
    spacing = cloud.spacing[level]  # [B, n]
    relative = spacing.log() - spacing.log().mean(dim=1, keepdim=True)
    places = torch.cat([cloud.level(level), (1 / spacing)[..., None], relative[..., None]], dim=-1)
    return places.flatten(0, 1)
