"""Global matching of a few hundred points between two clouds.

Self-attention and cross-attention, a softmax over all points of the other cloud by the similarity of
descriptors, and propagation of displacements from confident to uncertain points, after GMFlow (Xu et al.
2022) and Lepard (Li and Harada 2022). Attention decreases with distance at a learned rate per head.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WAVES = 4  # octaves of the positional encoding


@dataclass(frozen=True)
class Tokens:
    """Features [B, M, C] and positions [B, M, 3], relative to the center and size of the object."""

    features: Tensor
    places: Tensor


@dataclass(frozen=True)
class Matches:
    """Soft assignment of the points of one cloud to those of the other."""

    log_weights: Tensor  # [B, M, M']
    displacement: Tensor  # [B, M, 3], to the weighted mean


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances [B, M, M'] between points [B, M, 3] and [B, M', 3]."""
    return (a[:, :, None] - b[:, None]).square().sum(dim=3)


class Attention(nn.Module):
    """Multi-head attention of x [B, M, C] to others [B, M', C] at squared distances [B, M, M']."""

    def __init__(self, size: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key_value = nn.Linear(size, size), nn.Linear(size, 2 * size)
        self.out = nn.Linear(size, size)
        self.reach = nn.Parameter(torch.tensor([0.0, 1.5, 3.0, 4.5]))  # log rate of each head

    def forward(self, x: Tensor, others: Tensor, squares: Tensor) -> Tensor:
        query = self.query(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [B, H, M, C / H]
        key, value = self.key_value(others).unflatten(2, (2 * self.heads, -1)).transpose(1, 2).chunk(2, dim=1)
        alike = query @ key.transpose(2, 3) / query.shape[3] ** 0.5  # [B, H, M, M']
        weights = torch.softmax(alike - self.reach.exp()[:, None, None] * squares[:, None], dim=3)
        result: Tensor = self.out((weights.to(value.dtype) @ value).transpose(1, 2).flatten(2))
        return result


class Perceptron(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm, self.first, self.second = (
            nn.LayerNorm(size),
            nn.Linear(size, 2 * size),
            nn.Linear(2 * size, size),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.second(F.gelu(self.first(self.norm(x))))
        return result


class Block(nn.Module):
    """Self-attention, cross-attention and a perceptron."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(3))
        self.within, self.between, self.after = Attention(size), Attention(size), Perceptron(size)

    def forward(self, x: Tensor, other: Tensor, within: Tensor, between: Tensor) -> Tensor:
        normed = self.norms[0](x)
        x = x + self.within(normed, normed, within)
        x = x + self.between(self.norms[1](x), self.norms[2](other), between)
        result: Tensor = self.after(x)
        return result


class GlobalMatching(nn.Module):
    """Tokens of both clouds → features [B, M, C], displacements [B, M, 3] and matches of the first."""

    def __init__(self, size: int = 128, blocks: int = 2) -> None:
        super().__init__()
        self.place = nn.Linear(3 + 6 * WAVES, size)
        self.blocks = nn.ModuleList(Block(size) for _ in range(blocks))
        self.norm = nn.LayerNorm(size)
        self.query, self.key = nn.Linear(size, size), nn.Linear(size, size)
        self.found = nn.Linear(5, size)
        self.norm_within, self.within, self.after = nn.LayerNorm(size), Attention(size), Perceptron(size)
        self.norm_after = nn.LayerNorm(size)
        self.like, self.liked = nn.Linear(size, 64), nn.Linear(size, 64)
        self.sure, self.correction = nn.Linear(size, 1), nn.Linear(size, 3)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)
        self.reach = nn.Parameter(torch.tensor([3.5, 3.5]))  # log rates of matching and of propagation

    def forward(self, first: Tokens, second: Tokens) -> tuple[Tensor, Tensor, Matches]:
        x, y = (cloud.features + self._positions(cloud.places) for cloud in (first, second))
        within, other = _squares(first.places, first.places), _squares(second.places, second.places)
        between = _squares(first.places, second.places)
        for block in self.blocks:
            x, y = block(x, y, within, between), block(y, x, other, between.transpose(1, 2))
        x, y = self.norm(x), self.norm(y)
        matches = self._matches(self.query(x), self.key(y), between, first.places, second.places)
        x = x + self.found(self._evidence(matches, first.places, second.places).to(x.dtype))
        normed = self.norm_within(x)
        x = self.norm_after(self.after(x + self.within(normed, normed, within)))
        alike = self.like(x).float() @ self.liked(x).float().transpose(1, 2) / 8 + self.sure(
            x
        ).float().transpose(1, 2)
        weights = torch.softmax(alike - self.reach[1].exp() * within, dim=2)  # [B, M, M]
        with torch.autocast(x.device.type, enabled=False):
            displacement = weights @ matches.displacement + 0.1 * self.correction(x.float())
        return x, displacement, matches

    def _positions(self, places: Tensor) -> Tensor:
        waves = (
            places[..., None] * (2 ** torch.arange(WAVES, device=places.device)) * torch.pi
        )  # [B, M, 3, W]
        encoding: Tensor = self.place(
            torch.cat([places, waves.sin().flatten(2), waves.cos().flatten(2)], dim=2)
        )
        return encoding

    def _matches(self, query: Tensor, key: Tensor, between: Tensor, first: Tensor, second: Tensor) -> Matches:
        with torch.autocast(query.device.type, enabled=False):
            alike = query.float() @ key.float().transpose(1, 2) / query.shape[2] ** 0.5
            log_weights = torch.log_softmax(alike - self.reach[0].exp() * between, dim=2)
            return Matches(log_weights, log_weights.exp() @ second - first)

    @staticmethod
    def _evidence(matches: Matches, first: Tensor, second: Tensor) -> Tensor:
        """Features [B, M, 5]: displacement, log weight of the best match, spread of the matches."""
        with torch.autocast(first.device.type, enabled=False):
            weights = matches.log_weights.exp()
            mean = first + matches.displacement
            variance = (weights @ second.square() - mean.square()).clamp(min=0).sum(dim=2, keepdim=True)
            best = matches.log_weights.amax(dim=2, keepdim=True)
        return torch.cat([matches.displacement, best, (variance + 1e-6).sqrt()], dim=2)
