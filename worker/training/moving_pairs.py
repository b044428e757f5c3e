"""Pairs of clouds of moving things to learn from, drawn on the device; and fixed ones to measure with."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch

from worker.bodies.scenes import HELD_OUT_ADULTS, TRAINING_ADULTS
from worker.solids.moving import draw_moving_solids
from worker.solids.moving_bodies import BodyPool
from worker.solids.particles import Pairs, Particles, join, observe, spare
from worker.solids.skeletons import Skeletons, draw_skeletons

HELD_OUT = 999_999  # seed of what is measured on
KINDS = ("bodies", "solids")


@dataclass(frozen=True)
class PairSettings:
    """How training pairs are drawn."""

    sizes: tuple[int, ...] = (160, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)  # points of a cloud
    points: int = 65536  # of the first clouds of a batch together
    most: int = 128  # pairs in a batch
    queries: int = 256  # of each pair
    bodies: float = 0.45  # share of pairs
    views: float = 0.3  # share of pairs seen from one side
    asked_between: float = 0.3  # share of pairs asked at a time between the frames
    scenes: int = 768  # of bodies, held at once
    renewed: int = 4  # of those, each step
    skeletons: int = 2048


class MovingPairs:
    """Iterates over the pairs of `first_step` and all later steps; those of a step are the same in every
    run.
    """

    def __init__(
        self,
        settings: PairSettings,
        seed: int,
        device: torch.device | str,
        num_workers: int = 0,
        first_step: int = 0,
    ) -> None:
        self.settings, self.seed, self.step = settings, seed, first_step
        self.generator = torch.Generator(device)
        replaced = first_step * settings.renewed
        self.pool = BodyPool(TRAINING_ADULTS, seed, settings.scenes, device, replaced, num_workers)
        self.skeletons = draw_skeletons(settings.skeletons, seed).to(device)

    def __iter__(self) -> Iterator[Pairs]:
        return self

    def __next__(self) -> Pairs:
        settings = self.settings
        rng = np.random.default_rng([self.seed, self.step])
        self.generator.manual_seed(int(rng.integers(2**62)))
        first = int(rng.choice(settings.sizes))
        others = [size for size in settings.sizes if first / 4 <= size <= first * 4]
        counts = (first, int(rng.choice(others)) if rng.uniform() < 0.3 else first, settings.queries)
        batch = max(2, min(settings.most, settings.points // max(counts[:2])))
        bodies = round(batch * settings.bodies)
        drawn = join(
            [
                self.pool.draw(bodies, spare(counts), self.generator),
                _solids(self.skeletons, batch - bodies, counts, self.generator),
            ]
        )
        pairs = observe(drawn, counts, settings.views, settings.asked_between, self.generator)
        self.pool.renew(settings.renewed)
        self.step += 1
        return pairs


def _solids(
    skeletons: Skeletons, count: int, counts: tuple[int, int, int], generator: torch.Generator
) -> Particles:
    rows = torch.randint(len(skeletons), (count,), device=generator.device, generator=generator)
    return draw_moving_solids(skeletons[rows], spare(counts), generator)


def held_out_pairs(
    kind: str, points: int, count: int, device: torch.device | str, views: float = 0.0, queries: int = 256
) -> Pairs:
    """`count` pairs of unseen people or of other solids: the same for the same arguments, on one kind of
    device.
    """
    generator = torch.Generator(device).manual_seed(HELD_OUT + points)
    counts = (points, points, queries)
    if kind == "bodies":
        pool = BodyPool(HELD_OUT_ADULTS, HELD_OUT, min(count, 32), device)
        particles = pool.draw(count, spare(counts), generator)
    else:
        skeletons = draw_skeletons(count, HELD_OUT).to(device)
        particles = draw_moving_solids(skeletons, spare(counts), generator)
    return observe(particles, counts, views, 0.0, generator)


def part_of(pairs: Pairs, rows: slice) -> Pairs:
    return Pairs(*(getattr(pairs, field.name)[rows] for field in fields(Pairs)))
