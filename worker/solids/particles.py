"""Pairs of clouds as a scanner would take them, of particles whose places in two frames are known."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.solids.turns import random_rotations, rotations

CELL, BEHIND, SIDE = 0.03, 0.04, 80  # of the depth image: sides of its cells, how deep it sees, cells a side
OUTLIERS = 0.03  # largest share of points that lie anywhere
NOISE = 0.0003, 0.006  # least and most standard deviation, of the longest side
SPARE = 3  # particles drawn for each point of a cloud
FEWEST = 4096  # and at least this many, of which the depth image has no holes


@dataclass(frozen=True)
class Particles:
    """What pairs of clouds are drawn of; no cloud holds a particle of another. `*_kept`: on the surface
    there.
    """

    first: Tensor  # [B, A, 3], for the first cloud, in the first frame
    first_next: Tensor  # [B, A, 3], the same in the second frame
    first_kept: Tensor  # [B, A]
    second: Tensor  # [B, C, 3], for the second cloud, in the second frame
    second_kept: Tensor  # [B, C]
    queries: Tensor  # [B, Q, 3], in the first frame
    queries_next: Tensor  # [B, Q, 3], in the second
    queries_kept: Tensor  # [B, Q]


@dataclass(frozen=True)
class Pairs:
    """Two clouds in random order, and where particles go from the first frame to the second."""

    first: Tensor  # [B, N, 3]
    first_moves: Tensor  # [B, N, 3], displacements of its points
    first_known: Tensor  # [B, N], False for outliers
    second: Tensor  # [B, N', 3]
    queries: Tensor  # [B, Q, 3], on and slightly off the surface, seen or not
    moves: Tensor  # [B, Q, 3]
    share: Tensor  # [B], the time at which queries are asked: they are that share of their way along


def spare(counts: tuple[int, int, int]) -> tuple[int, int, int]:
    """How many particles to draw for clouds and queries of these numbers."""
    first, second, queries = counts
    return max(FEWEST, SPARE * first), max(FEWEST, SPARE * second), SPARE * queries


def split(first: Tensor, second: Tensor, kept: Tensor, counts: tuple[int, int, int]) -> Particles:
    """Particles [B, S, 3] in both frames, S the sum of `counts`, shared out; kept [B, S] in the frame of
    their cloud.
    """
    first_a, _, first_q = torch.split(first, list(counts), dim=1)
    second_a, second_b, second_q = torch.split(second, list(counts), dim=1)
    kept_a, kept_b, kept_q = torch.split(kept, list(counts), dim=1)
    return Particles(first_a, second_a, kept_a, second_b, kept_b, first_q, second_q, kept_q)


def join(several: list[Particles]) -> Particles:
    """Batches one after the other."""
    columns = zip(*(tuple(vars(particles).values()) for particles in several), strict=True)
    return Particles(*(torch.cat(column) for column in columns))


def observe(
    particles: Particles,
    counts: tuple[int, int, int],
    views: float,
    asked_between: float,
    generator: torch.Generator,
) -> Pairs:
    """Clouds of `counts` points and queries. The first frame is about a unit box across, in any orientation.

    A share of `views` of the pairs is seen from one side, by a camera that turns a little between the frames;
    a share of `asked_between` is asked at a time between the frames. The whole may move and turn, clouds
    are of uneven density, noisy to different degrees, and have outliers at times.
    """
    draw = _Draw(len(particles.first), generator)
    first, first_next, second, queries, queries_next = _arranged(particles, draw)
    seen_first, seen_second = _seen(first, particles.first_kept, second, particles.second_kept, views, draw)
    chosen = _choose(seen_first, _density(first, draw), counts[0], draw)  # [B, N]
    cloud, cloud_next = _rows(first, chosen), _rows(first_next, chosen)
    other = _rows(second, _choose(seen_second, _density(second, draw), counts[1], draw))
    asked = _choose(particles.queries_kept, torch.zeros_like(queries[..., 0]), counts[2], draw)
    queries, moves = _rows(queries, asked), _rows(queries_next - queries, asked)
    least, most = NOISE
    sigma = least * (most / least) ** draw.uniform(1, 1)  # [B, 1, 1]
    known = draw.uniform(counts[0]) >= OUTLIERS * draw.sometimes(0.25)[..., 0]  # [B, N]
    measured = torch.where(known[..., None], cloud + sigma * draw.normal(counts[0], 3), draw.anywhere(cloud))
    kept = draw.uniform(counts[1]) >= OUTLIERS * draw.sometimes(0.25)[..., 0]
    other = torch.where(kept[..., None], other + sigma * draw.normal(counts[1], 3), draw.anywhere(other))
    off = 0.01 * draw.sometimes(0.5) * draw.normal(counts[2], 3)
    share = (draw.uniform(1, 1) < asked_between) * draw.uniform(1, 1)
    return Pairs(
        measured, cloud_next - cloud, known, other, queries + off + share * moves, moves, share[:, 0, 0]
    )


class _Draw:
    """Random tensors of a batch."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator, self.device = count, generator, generator.device

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, device=self.device, generator=self.generator)

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.count, *shape, device=self.device, generator=self.generator)

    def sometimes(self, share: float) -> Tensor:
        """[B, 1, 1]: 0, or for a share of the batch a number up to 1."""
        return (self.uniform(1, 1) < share) * self.uniform(1, 1)

    def anywhere(self, like: Tensor) -> Tensor:
        return 1.4 * (self.uniform(*like.shape[1:]) - 0.5)


def _rows(points: Tensor, rows: Tensor) -> Tensor:
    return points.gather(1, rows[..., None].expand(-1, -1, 3))


def _arranged(particles: Particles, draw: _Draw) -> list[Tensor]:
    """First, the same next, second, queries, the same next: turned, scaled to the first frame's box, and
    moved.
    """
    rotation = random_rotations(draw.count, draw.generator)
    points = [
        particles.first,
        particles.first_next,
        particles.second,
        particles.queries,
        particles.queries_next,
    ]
    points = [x @ rotation for x in points]
    kept = particles.first_kept[..., None]
    high = torch.where(kept, points[0], -torch.inf).amax(dim=1, keepdim=True)
    low = torch.where(kept, points[0], torch.inf).amin(dim=1, keepdim=True)
    scale = (0.75 + 0.4 * draw.uniform(1, 1)) / (high - low).amax(dim=2, keepdim=True)
    points = [(x - (high + low) / 2) * scale for x in points]
    # The whole moves as well, at times.
    size = 0.004 * 50 ** draw.uniform(1, 1)  # [B, 1, 1], up to 0.2
    turn = rotations((2 * size * draw.sometimes(0.4) * draw.normal(1, 3))[:, 0])  # [B, 3, 3]
    shift = size * draw.sometimes(0.5) * draw.normal(1, 3)
    first, first_next, second, queries, queries_next = points
    return [first, first_next @ turn + shift, second @ turn + shift, queries, queries_next @ turn + shift]


def _seen(
    first: Tensor, first_kept: Tensor, second: Tensor, second_kept: Tensor, views: float, draw: _Draw
) -> tuple[Tensor, Tensor]:
    """Which particles [B, A] and [B, C] a camera sees, where a pair is looked at by one; else those on the
    surface.
    """
    camera = random_rotations(draw.count, draw.generator)
    turned = camera @ rotations(0.12 * draw.normal(3))
    all_around = draw.uniform(1) >= views
    return (
        first_kept & (all_around | _in_front(first @ camera, first_kept)),
        second_kept & (all_around | _in_front(second @ turned, second_kept)),
    )


def _in_front(points: Tensor, kept: Tensor) -> Tensor:
    """Which points [B, S, 3] are not hidden to a camera far away in the direction of z, by a depth image:
    [B, S].
    """
    cells = ((points[..., :2] / CELL).round().long() + SIDE // 2).clamp(0, SIDE - 1)  # [B, S, 2]
    cell = cells[..., 0] * SIDE + cells[..., 1]
    depth = torch.where(kept, points[..., 2], -torch.inf)
    nearest = torch.full((len(points), SIDE * SIDE), -torch.inf, device=points.device)
    nearest = nearest.scatter_reduce(1, cell, depth, "amax")
    return depth > nearest.gather(1, cell) - BEHIND


def _density(points: Tensor, draw: _Draw) -> Tensor:
    """Logarithms [B, S] of how densely points are taken: even, or varying over the thing."""
    frequency, phase = 4 * draw.normal(3, 1), 6.3 * draw.uniform(1, 1)
    return (1.5 * draw.sometimes(0.5) * torch.sin(points @ frequency + phase))[..., 0]


def _choose(allowed: Tensor, density: Tensor, count: int, draw: _Draw) -> Tensor:
    """Rows [B, count] of allowed ones in random order; where there are too few of them, some more than
    once.
    """
    gumbel = -torch.log(-torch.log(draw.uniform(allowed.shape[1]).clamp(1e-7, 1 - 1e-7)))
    order = torch.where(allowed, density + gumbel, -torch.inf).topk(count, dim=1).indices
    enough = allowed.sum(dim=1, keepdim=True).clamp(1, count)
    rows = order.gather(1, torch.arange(count, device=order.device) % enough)
    # By falling weight so far, which is no random order where densities differ.
    return rows.gather(1, draw.uniform(count).argsort(dim=1))
