"""Displacements of a moving surface between two unordered point clouds.

    net = LocalVelocity()
    first, second = net.encode(cloud), net.encode(next_cloud)   # once per frame; [B, N, 3], in random order
    motion = net.match(first, second)                           # once per pair of frames
    found = net.at(motion, queries, share)                      # displacement [B, Q, 3], log_scale [B, Q]

Coarse to fine: a few hundred tokens of the first cloud are matched with as many of the second
(`global_matching`). Twice as many anchors then refine their displacement three times, from the points around
their estimated position, as RAFT does in images (Teed and Deng 2020; PV-RAFT, Wei et al. 2021, for points),
and from the estimates of their neighbors. A query at any `share` of the time between the frames reads the
moved anchors around it and once more the points of both frames. `displacement` divided by the time between
the frames is a velocity field along which particles move in straight lines from one frame to the next.

Equivariant to translation and scale.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.networks.global_matching import GlobalMatching, Matches, Tokens
from model.networks.lookups import EDGE, Lookup, Pool, Step, edge_features
from model.networks.neighborhoods import Neighborhoods, neighborhoods, search
from model.networks.point_features import Features, PointFeatures
from model.networks.rows import take

CHANNELS = (48, 96, 96, 96)
TOKENS, ANCHORS = 256, 512  # maximum numbers of matched and of refined points
ROUNDS = 3
NEAR = 8  # anchors near a query; anchors near an anchor, among all and among one in `WIDER`
WIDER = 8
CHUNK_SIZE = 512  # queries evaluated together on a CPU; their features fit in its cache
UPWARDS = 4  # tokens that an anchor is initialized from


@dataclass(frozen=True)
class EncodedFrame:
    """Features of one cloud, and the keys by which it is looked up."""

    cloud: Neighborhoods
    features: Features
    keys: tuple[Tensor, ...]  # for anchors, [B · n_l, W] of the finest levels
    keys_before: tuple[Tensor, ...]  # for queries, if this is the first frame
    keys_after: tuple[Tensor, ...]  # and if it is the second


@dataclass(frozen=True)
class Motion:
    """Displacements from the first frame to the second, at anchors of the first."""

    first: EncodedFrame
    second: EncodedFrame
    anchors: Tensor  # [B, R, 3]
    displacement: Tensor  # [B, R, 3]
    keys: Tensor  # [B · R, W], of the anchors, for queries
    spacing: Tensor  # [B, 1, 1], unit of corrections
    matches: Matches
    stages: tuple[Tensor, ...]  # displacements after each stage: of tokens [B, M, 3], of anchors [B, R, 3]


@dataclass(frozen=True)
class Found:
    """Motion at queries."""

    displacement: Tensor  # [B, Q, 3], from the first frame to the second
    log_scale: Tensor  # [B, Q], logarithm of the expected error, in units of the clouds
    gathered: Tensor  # [B, Q, 3], interpolated from the anchors


class LocalVelocity(nn.Module):
    def __init__(self, channels: tuple[int, ...] = CHANNELS, width: int = 64, size: int = 128) -> None:
        super().__init__()
        self.encoder = PointFeatures(channels)
        self.token = nn.ModuleList(nn.Linear(c, size) for c in channels[:3])
        self.matching = GlobalMatching(size)
        self.token_key, self.from_tokens = nn.Linear(size, width), Pool(size, width, EDGE)
        self.enter = nn.Linear(width, size)
        self.lookup = Lookup(channels[:3], size, width)
        self.norm, self.message = nn.LayerNorm(size), nn.Linear(size, 2 * width)
        self.fine, self.wide = (Pool(size, width, 2 * EDGE) for _ in range(2))
        self.step = Step(size, 5 * width, 5, 1)
        self.leave = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, width))
        self.gather = Pool(1, width, 2 * EDGE)
        self.before = Lookup(channels[:1], width, width, NEAR)
        self.after = Lookup(channels[:2], width, width, NEAR)
        self.query_step = Step(width, 3 * width, 3, 1)
        self.doubt = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )

    def encode(self, points: Tensor) -> EncodedFrame:
        """Encode clouds [B, N, 3] of at least 16 points, in random order."""
        return self.encode_cloud(neighborhoods(points))

    def encode_cloud(self, cloud: Neighborhoods) -> EncodedFrame:
        features = self.encoder(cloud)
        keys = (module.keys(features) for module in (self.lookup, self.before, self.after))
        return EncodedFrame(cloud, features, *keys)

    def match(self, first: EncodedFrame, second: EncodedFrame) -> Motion:
        points = first.cloud.points  # [B, N, 3]
        anchors = points[:, :ANCHORS]
        middle = points.mean(dim=1, keepdim=True)
        size = 3 * (points - middle).square().sum(dim=2).mean(dim=1).sqrt()[:, None, None]  # [B, 1, 1]
        spacing = first.cloud.spacing[0].mean(dim=1)[:, None, None]
        tokens = [self._tokens(frame, middle, size) for frame in (first, second)]
        features, coarse, matches = self.matching(*tokens)
        coarse = coarse * size
        rows, way = self._nearby(anchors, anchors[:, :TOKENS], UPWARDS)
        own = self._own(first, anchors.shape[1])
        pooled, weights = self.from_tokens(
            own, self.token_key(features).flatten(0, 1), rows, edge_features(way, spacing[..., None], spacing)
        )
        displacement = (weights * take(coarse.flatten(0, 1), rows)).sum(dim=2)  # [B, R, 3]
        hidden = own + self.enter(pooled)
        stages = [coarse, displacement]
        near = [self._nearby(anchors, anchors[:, : anchors.shape[1] // part], NEAR) for part in (1, WIDER)]
        for _ in range(ROUNDS):
            hidden, displacement = self._round(hidden, displacement.detach(), anchors, near, second, spacing)
            stages.append(displacement)
        keys = self.leave(hidden).flatten(0, 1)
        return Motion(first, second, anchors, displacement, keys, spacing, matches, tuple(stages))

    def at(self, motion: Motion, queries: Tensor, share: Tensor) -> Found:
        """Motion at queries [B, Q, 3] on or near the surface, at fractions `share` [B] in [0, 1] of the time
        between the frames.
        """
        if torch.is_grad_enabled() or queries.shape[1] <= CHUNK_SIZE or queries.is_cuda:
            return self._at(motion, queries, share)
        parts = [self._at(motion, part, share) for part in torch.split(queries, CHUNK_SIZE, dim=1)]
        return Found(*(torch.cat([getattr(part, name) for part in parts], dim=1) for name in vars(parts[0])))

    def _at(self, motion: Motion, queries: Tensor, share: Tensor) -> Found:
        share = share[:, None, None]
        moved = motion.anchors + share * motion.displacement.detach()
        rows, way = self._nearby(queries, moved, NEAR)
        displacements = take(motion.displacement.flatten(0, 1), rows)  # [B, Q, K, 3]
        relative = displacements - displacements.mean(dim=2, keepdim=True)
        spacing, unit = motion.spacing, motion.spacing[..., None]
        edges = torch.cat([edge_features(x, unit, spacing) for x in (way, relative)], dim=3)
        hidden, weights = self.gather(share.expand(-1, queries.shape[1], 1), motion.keys, rows, edges)
        gathered = (weights * displacements).sum(dim=2)  # [B, Q, 3]
        guess = gathered.detach()
        first, second = motion.first, motion.second
        before, back = self.before(hidden, queries - share * guess, first.cloud, first.keys_before, spacing)
        after, on = self.after(
            hidden, queries + (1 - share) * guess, second.cloud, second.keys_after, spacing
        )
        hidden, change = self.query_step(hidden, before + after, back + on, spacing, (guess,))
        log_scale = self.doubt(hidden).float() + spacing.log()
        return Found(gathered + change, log_scale[..., 0], gathered)

    def forward(self, first: Tensor, second: Tensor, queries: Tensor, share: Tensor) -> tuple[Motion, Found]:
        """The motion from `first` [B, N, 3] to `second` [B, N', 3], and its values at queries; see `at`."""
        if first.shape == second.shape:  # in one batch
            frames = _halves(self.encode(torch.cat([first, second])))
        else:
            frames = self.encode(first), self.encode(second)
        motion = self.match(*frames)
        return motion, self.at(motion, queries, share)

    def _round(
        self,
        hidden: Tensor,
        displacement: Tensor,
        anchors: Tensor,
        near: list[tuple[Tensor, Tensor]],
        second: EncodedFrame,
        spacing: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Refine displacements from the points at the estimated positions and from other anchors."""
        normed = self.norm(hidden)
        seen, ways = self.lookup(normed, anchors + displacement, second.cloud, second.keys, spacing)
        keys = self.message(normed).chunk(2, dim=2)
        counts = anchors.shape[1], anchors.shape[1] // WIDER
        for pool, key, count, (rows, way) in zip((self.fine, self.wide), keys, counts, near, strict=True):
            others = displacement[:, :count].flatten(0, 1)
            relative = take(others, rows) - displacement[:, :, None]  # [B, R, K, 3]
            unit = spacing[..., None]
            edges = torch.cat([edge_features(x, unit, spacing) for x in (way, relative)], dim=3)
            pooled, weights = pool(normed, key[:, :count].flatten(0, 1), rows, edges)
            seen.append(pooled)
            ways.append((weights * relative).sum(dim=2))
        hidden, change = self.step(hidden, seen, ways, spacing, (displacement,))
        return hidden, displacement + change

    def _tokens(self, frame: EncodedFrame, middle: Tensor, size: Tensor) -> Tokens:
        return Tokens(self._own(frame, TOKENS), (frame.cloud.points[:, :TOKENS] - middle) / size)

    def _own(self, frame: EncodedFrame, count: int) -> Tensor:
        """Features [B, count, C] of the first points, plus those of the nearest points of coarser levels."""
        features: Tensor = self.token[0](frame.features.levels[0][:, :count])
        for level in range(1, len(self.token)):
            rows = frame.cloud.around[level][:, :count, 0]
            features = features + take(self.token[level](frame.features.levels[level]).flatten(0, 1), rows)
        return features

    @staticmethod
    def _nearby(places: Tensor, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Indices [B, P, K] of the nearest points, and their offsets [B, P, K, 3]."""
        rows = search(places, points, min(count, points.shape[1]))[0]
        return rows, take(points.flatten(0, 1), rows) - places[:, :, None]


def _halves(frame: EncodedFrame) -> tuple[EncodedFrame, EncodedFrame]:
    """Split a batch into its first and second half."""
    cloud, features = frame.cloud, frame.features
    count = len(cloud.points) // 2

    def rows(levels: tuple[Tensor, ...], half: int) -> tuple[Tensor, ...]:
        shifts = (half * count * size for size in cloud.sizes)
        return tuple(level.chunk(2)[half] - shift for level, shift in zip(levels, shifts, strict=True))

    def part(tensors: tuple[Tensor, ...], half: int) -> tuple[Tensor, ...]:
        return tuple(tensor.chunk(2)[half] for tensor in tensors)

    first, second = (
        EncodedFrame(
            Neighborhoods(
                cloud.points.chunk(2)[half],
                cloud.sizes,
                part(cloud.spacing, half),
                rows(cloud.within, half),
                rows(cloud.around, half),
            ),
            Features(part(features.levels, half), features.overall.chunk(2)[half]),
            part(frame.keys, half),
            part(frame.keys_before, half),
            part(frame.keys_after, half),
        )
        for half in range(2)
    )
    return first, second
