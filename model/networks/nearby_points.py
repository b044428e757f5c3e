"""A query attends to the points near it, on every level."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.neighborhoods import Neighborhoods, offset_features
from model.networks.point_features import CHANNELS, Features
from model.networks.rows import take

NEAR = 12  # points of a level that a query looks at, at most
DIRECTIONS = 8


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

    def keys(self, features: Features) -> list[Tensor]:
        """What depends on the points alone, to be worked out once for all queries: [B · n_l, C] each."""
        return [key(x).flatten(0, 1) for key, x in zip(self.key, features.levels, strict=True)]

    def forward(self, queries: Tensor, near: Tensor, cloud: Neighborhoods, keys: list[Tensor]) -> Tensor:
        """[B, Q, size] for queries [B, Q, 3] and their nearest points `near` [B, Q]."""
        seen = [self._level(level, queries, near, cloud, keys[level]) for level in range(len(keys))]
        return torch.cat(seen, dim=-1)

    def _level(self, level: int, queries: Tensor, near: Tensor, cloud: Neighborhoods, keys: Tensor) -> Tensor:
        rows = cloud.around[level][..., :NEAR].flatten(0, 1)[near]  # [B, Q, K]
        log_spacing = cloud.spacing[level].log()
        relative = (log_spacing - log_spacing.mean(dim=1, keepdim=True)).reshape(-1, 1)
        known = torch.cat(
            [cloud.level(level).flatten(0, 1), cloud.spacing[level].reshape(-1, 1), relative], 1
        )
        known = take(known, rows)  # [B, Q, K, 5]
        offsets = (queries[:, :, None] - known[..., :3]) / known[..., 3:4]
        place = torch.cat([offset_features(offsets), known[..., 4:]], dim=-1)
        key = take(keys, rows)  # [B, Q, K, width + 3 D]
        place = place.to(key.dtype)  # [B, Q, K, 8]
        directions = key[..., self.width :].reshape(*rows.shape, 3, DIRECTIONS)
        along = directions[..., 0, :] * place[..., 0:1]  # [B, Q, K, D]
        for axis in (1, 2):
            along = torch.addcmul(along, directions[..., axis, :], place[..., axis : axis + 1])
        hidden = F.relu(key[..., : self.width] + self.place[level](torch.cat([along, place], dim=-1)))
        weights = self.weight[level](hidden).softmax(dim=2).to(hidden.dtype)  # [B, Q, K, heads]
        parts = weights[..., None] * hidden.reshape(
            *rows.shape, self.heads, -1
        )  # [B, Q, K, heads, width / heads]
        with torch.autocast(parts.device.type, enabled=False):  # which would first write a float32 copy
            pooled: Tensor = parts.sum(dim=2)
        return pooled.flatten(-2)
