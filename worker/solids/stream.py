"""Endless clouds of bodies and random solids, on the device that learns from them.

A ring of recent shapes is kept there. Each step takes a batch of clouds of any of them; every few steps new
ones come in: bodies and recipes of solids drawn by loader processes, solids worked out on the device. What a
step yields depends on the seed and the number of the step alone, so that a run goes on where it ended.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from worker.solids.body_shapes import draw_body, stack
from worker.solids.clouds import Clouds, draw_clouds
from worker.solids.parts import Solids
from worker.solids.recipes import draw_solids
from worker.solids.surfaces import Shapes, sample

NEW, CLOUDS = 1, 2  # keep the streams of random numbers apart


@dataclass(frozen=True)
class StreamSettings:
    bodies: int = 24  # new ones at a time
    solids: int = 24
    every: int = 4  # steps; few large batches of solids cost a GPU less than many small ones
    kept: int = 40  # how many times' shapes are in the ring
    ahead: int = 4  # how many times' are in it before the first batch
    surface: int = 8192  # points kept of a shape
    places: int = 8192  # of known occupancy, kept of a shape
    # Of the points of a cloud, one of them at each step; few, so that memory is used again.
    sizes: tuple[int, ...] = (100, 140, 197, 276, 388, 544, 764, 1072, 1505, 2112, 2964, 4159, 5837, 8192)
    budget: int = 65_536  # points of a batch
    clouds: int = 64  # of a batch, at most
    queries: int = 2048  # of a cloud


class NewShapes(Dataset[dict[str, Tensor]]):
    """`[time]`: the bodies and the recipes of solids that come in at a time, in one dictionary of tensors."""

    def __init__(self, settings: StreamSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed

    def __getitem__(self, time: int) -> dict[str, Tensor]:
        settings, rng = self.settings, np.random.default_rng([self.seed, time, NEW])
        solids = draw_solids(rng, settings.solids)
        drawn = {f"solids.{field.name}": getattr(solids, field.name) for field in fields(Solids)}
        bodies = [draw_body(rng, settings.surface, settings.places) for _ in range(settings.bodies)]
        if bodies:
            shapes = stack(bodies)
            drawn |= {f"bodies.{field.name}": getattr(shapes, field.name) for field in fields(Shapes)}
        return drawn


class CloudStream:
    """Iterates over the clouds of `first_step` and all later steps."""

    def __init__(
        self,
        settings: StreamSettings,
        seed: int,
        device: torch.device | str,
        first_step: int = 0,
        num_workers: int = 0,
    ) -> None:
        self.settings, self.seed, self.device = settings, seed, torch.device(device)
        self.step = first_step
        self.generator = torch.Generator(self.device)
        self.inserted = max(0, first_step // settings.every + settings.ahead - settings.kept)
        self._ring = empty_ring(settings, self.device)
        loader: DataLoader[dict[str, Tensor]] = DataLoader(
            NewShapes(settings, seed),
            batch_size=None,
            sampler=itertools.count(self.inserted),
            num_workers=num_workers,
            prefetch_factor=2 if num_workers else None,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=one_thread,
        )
        self._new = iter(loader)

    def __iter__(self) -> Iterator[Clouds]:
        return self

    def __next__(self) -> Clouds:
        while self.inserted < self.step // self.settings.every + self.settings.ahead:
            self._insert(next(self._new))
        settings, ring = self.settings, self._ring
        self._reseed(self.step, CLOUDS)
        rng = np.random.default_rng([self.seed, self.step, CLOUDS])
        points = settings.sizes[rng.integers(len(settings.sizes))]
        count = max(1, min(settings.clouds, settings.budget // points))
        filled = min(self.inserted, settings.kept) * (settings.bodies + settings.solids)
        rows = torch.randint(filled, (count,), generator=self.generator, device=self.device)
        self.step += 1
        return draw_clouds(ring[rows], points, settings.queries, self.generator)

    def _insert(self, drawn: dict[str, Tensor]) -> None:
        drawn = {name: value.to(self.device, non_blocking=True) for name, value in drawn.items()}
        parts: list[Shapes] = []
        if self.settings.solids:
            solids = Solids(**_fields_of(drawn, "solids."))
            self._reseed(self.inserted, NEW)
            shapes, usable = sample(solids, self.settings.surface, self.settings.places, self.generator)
            # One that has no surface to speak of is replaced by another, without waiting for the answer.
            best = usable.long().argmax()
            parts.append(shapes[torch.where(usable, torch.arange(len(usable), device=self.device), best)])
        if self.settings.bodies:
            parts.append(Shapes(**_fields_of(drawn, "bodies.")))
        per_step = self.settings.bodies + self.settings.solids
        new = {
            field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Shapes)
        }
        first = self.inserted % self.settings.kept * per_step
        for name, value in new.items():
            getattr(self._ring, name)[first : first + per_step] = value
        self.inserted += 1

    def _reseed(self, step: int, purpose: int) -> None:
        self.generator.manual_seed(
            int(np.random.SeedSequence([self.seed, step, purpose]).generate_state(1)[0])
        )


def empty_ring(settings: StreamSettings, device: torch.device) -> Shapes:
    size = settings.kept * (settings.bodies + settings.solids)
    return Shapes(
        torch.zeros(size, settings.surface, 3, device=device),
        torch.zeros(size, settings.surface, 3, device=device),
        torch.zeros(size, settings.places, 3, device=device),
        torch.zeros(size, settings.places, dtype=torch.bool, device=device),
    )


def one_thread(_: int) -> None:
    """Of a loader process; and Ctrl-C, which reaches the whole group, is left to the parent."""
    from worker.data.batches import leave_signals_to_the_parent

    torch.set_num_threads(1)
    leave_signals_to_the_parent(0)


def _fields_of(drawn: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in drawn.items() if name.startswith(prefix)}
