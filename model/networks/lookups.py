"""Attention over short lists of nearby points.

Offsets are in units of the local spacing and compressed, so that those of distant points mainly encode
direction.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.neighborhoods import FAR, Neighborhoods, offset_features
from model.networks.point_features import Features
from model.networks.rows import take

EDGE = 8  # features of an offset


def edge_features(offsets: Tensor, unit: Tensor, usual: Tensor) -> Tensor:
    """Features [B, P, K, 8] of offsets [B, P, K, 3] in `unit` [B, P, K or 1, 1], and of `unit` in the `usual`
    one [B, 1, 1].

    Without gradients, which are unbounded as an offset vanishes.
    """
    with torch.no_grad():
        relative = (unit / usual[..., None]).log().expand(*offsets.shape[:3], 1)
        return torch.cat([offset_features(offsets / unit), relative], dim=3)


class Pool(nn.Module):
    """Attention pooling of K points at each of P places: features [B, P, W] and weights [B, P, K, 1].

    `query` [B, P, C] are features of the places, `keys` [B · n, W] those of the points, `rows` [B, P, K]
    their indices, and `edges` [B, P, K, E] features of the offsets.
    """

    def __init__(self, c_query: int, width: int, edge: int) -> None:
        super().__init__()
        self.query = nn.Linear(c_query, width)
        self.edge = nn.Linear(edge, width, bias=False)
        self.mix, self.weight = nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, query: Tensor, keys: Tensor, rows: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.edge(edges).add_(self.query(query)[:, :, None]).add_(take(keys, rows))  # [B, P, K, W]
        hidden = self.mix(hidden.relu_()).relu_()
        weights = torch.softmax(self.weight(hidden).float(), dim=2)  # [B, P, K, 1]
        parts = weights.to(hidden.dtype) * hidden
        with torch.autocast(parts.device.type, enabled=False):  # it would make a float32 copy
            return parts.sum(dim=2), weights


class Lookup(nn.Module):
    """Reads the points of a cloud around given places, on several levels."""

    def __init__(self, channels: tuple[int, ...], c_query: int, width: int, count: int | None = None) -> None:
        super().__init__()
        self.count = count
        self.key = nn.ModuleList(nn.Linear(c, width) for c in channels)
        self.pool = nn.ModuleList(Pool(c_query, width, EDGE) for _ in channels)

    def keys(self, features: Features) -> tuple[Tensor, ...]:
        """Features [B · n_l, W] of each level, which depend on the cloud only."""
        return tuple(key(x).flatten(0, 1) for key, x in zip(self.key, features.levels, strict=False))

    def forward(
        self, query: Tensor, places: Tensor, cloud: Neighborhoods, keys: tuple[Tensor, ...], usual: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Features [B, P, W] and attention-weighted offsets [B, P, 3] at places [B, P, 3], for each level."""
        near = cloud.nearest(places)  # [B, P]
        seen, ways = [], []
        for level, pool in enumerate(self.pool):
            rows = cloud.around[level].flatten(0, 1)[near][..., : self.count]  # [B, P, K]
            offsets = take(cloud.level(level).flatten(0, 1), rows) - places[:, :, None]  # [B, P, K, 3]
            spacing = take(cloud.spacing[level].reshape(-1, 1), rows)  # [B, P, K, 1]
            pooled, weights = pool(query, keys[level], rows, edge_features(offsets, spacing, usual))
            seen.append(pooled)
            ways.append((weights * offsets).sum(dim=2))
        return seen, ways


class Step(nn.Module):
    """Update of the features and the displacement of places from what they read.

    The displacement changes by a predicted vector, in units of `spacing`, plus a convex combination of the
    offsets `ways`.
    """

    def __init__(self, size: int, c_seen: int, ways: int, extra: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.known, self.seen = (
            nn.Linear(size, 2 * size),
            nn.Linear(c_seen + 3 * (ways + extra), 2 * size),
        )
        self.second = nn.Linear(2 * size, size)
        self.norm_out, self.out = nn.LayerNorm(size), nn.Linear(size, 3 + ways + 1)
        # Initially, displacements hardly change.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        nn.init.constant_(self.out.bias[-1:], 2.0)

    def forward(
        self,
        hidden: Tensor,
        seen: list[Tensor],
        ways: list[Tensor],
        spacing: Tensor,
        extra: tuple[Tensor, ...] = (),
    ) -> tuple[Tensor, Tensor]:
        """hidden [B, P, C], ways [B, P, 3] each, spacing [B, 1, 1] → hidden, change of the displacement."""
        vectors = [_compressed(way / spacing) for way in (*ways, *extra)]
        inner = self.known(self.norm(hidden)) + self.seen(torch.cat([*seen, *vectors], dim=2))
        hidden = hidden + self.second(F.gelu(inner))
        out = self.out(self.norm_out(hidden)).float()
        shares = torch.softmax(out[..., 3:], dim=2)  # [B, P, ways + 1], the last for no change
        change = spacing * out[..., :3]
        for number, way in enumerate(ways):
            change = change + shares[..., number : number + 1] * way
        return hidden, change


def _compressed(offsets: Tensor) -> Tensor:
    result: Tensor = offsets / (1 + offsets.norm(dim=-1, keepdim=True) / FAR)
    return result
