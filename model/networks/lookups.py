"""Places that look at the points around them, and at their neighbors: attention over short lists of points.

Everything is told in units of the local spacing, faded so that what is far off tells little but its
direction.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.neighborhoods import FAR, Neighborhoods, nearest, offset_features
from model.networks.point_features import Features
from model.networks.rows import take

EDGE = 8  # features of an offset


def edge_features(offsets: Tensor, unit: Tensor, usual: Tensor) -> Tensor:
    """Of offsets [B, P, K, 3] told in `unit` [B, P, K or 1, 1], and that in the `usual` one [B, 1, 1]: [B,
    P, K, 8].

    Without a gradient, which would have no bound where an offset vanishes.
    """
    with torch.no_grad():
        relative = (unit / usual[..., None]).log().expand(*offsets.shape[:3], 1)
        return torch.cat([offset_features(offsets / unit), relative], dim=3)


class Pool(nn.Module):
    """What P places make of K listed points each: features [B, P, W], and how much each point counts [B, P,
    K, 1].

    `keys` [B · n, W] are of the points, `rows` [B, P, K] their row numbers, `edges` [B, P, K, E] how they
    lie, `query` [B, P, C] what a place knows, where it knows something.
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
        with torch.autocast(parts.device.type, enabled=False):  # which would first write a float32 copy
            return parts.sum(dim=2), weights


class Lookup(nn.Module):
    """Looks around places at points of some levels of a cloud, the nearest first: see `forward`."""

    def __init__(self, channels: tuple[int, ...], c_query: int, width: int, count: int | None = None) -> None:
        super().__init__()
        self.count = count
        self.key = nn.ModuleList(nn.Linear(c, width) for c in channels)
        self.pool = nn.ModuleList(Pool(c_query, width, EDGE) for _ in channels)

    def keys(self, features: Features) -> tuple[Tensor, ...]:
        """What depends on the cloud alone: [B · n_l, W] of each level."""
        return tuple(key(x).flatten(0, 1) for key, x in zip(self.key, features.levels, strict=False))

    def forward(
        self, query: Tensor, places: Tensor, cloud: Neighborhoods, keys: tuple[Tensor, ...], usual: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Of each level: features [B, P, W] for places [B, P, 3], and the way to the points meant [B, P,
        3].
        """
        near = nearest(cloud.points, places)  # [B, P]
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
    """From all that was seen, what a place knows next and how its displacement changes.

    The displacement goes by a vector of its own, in units of `spacing`, and a part of each of the `ways`
    seen.
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
        # At the start of training a place stays, for the most part.
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
        vectors = [_faded(way / spacing) for way in (*ways, *extra)]
        inner = self.known(self.norm(hidden)) + self.seen(torch.cat([*seen, *vectors], dim=2))
        hidden = hidden + self.second(F.gelu(inner))
        out = self.out(self.norm_out(hidden)).float()
        shares = torch.softmax(out[..., 3:], dim=2)  # [B, P, ways + 1], the last of them: stay
        change = spacing * out[..., :3]
        for number, way in enumerate(ways):
            change = change + shares[..., number : number + 1] * way
        return hidden, change


def _faded(offsets: Tensor) -> Tensor:
    faded: Tensor = offsets / (1 + offsets.norm(dim=-1, keepdim=True) / FAR)
    return faded
