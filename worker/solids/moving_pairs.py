"""Pairs of clouds of moving things to learn from, drawn on the device."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from worker.bodies.scenes import TRAINING_ADULTS
from worker.solids.moving import draw_moving_solids
from worker.solids.moving_bodies import BodyPool
from worker.solids.particles import Pairs, Particles, join, observe, spare
from worker.solids.random_skeletons import draw_skeletons
from worker.solids.skeletons import Skeletons


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
