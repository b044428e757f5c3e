"""Held-out data of `data.dataset: solids`: people and solids that no run learns from."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

import numpy as np
import torch

from worker.bodies.scenes import HELD_OUT_ADULTS
from worker.solids.body_shapes import draw_body, stack
from worker.solids.clouds import Clouds, draw_plain_clouds
from worker.solids.moving import draw_moving_solids
from worker.solids.moving_bodies import BodyPool
from worker.solids.particles import Pairs, observe, spare
from worker.solids.random_skeletons import draw_skeletons
from worker.solids.recipes import draw_solids
from worker.solids.surfaces import sample

CLOUD_SEED, PAIR_SEED = 999, 999_999
NOISE = 0.001  # standard deviation, of the longest side
PLACES = 4096  # queries of a cloud
QUERIES = 256  # of a pair
KINDS = ("bodies", "solids")

Batch = TypeVar("Batch", Clouds, Pairs)


@dataclass(frozen=True)
class HeldOut(Generic[Batch]):
    """One set: `bodies_300` are bodies, as clouds of 300 points."""

    name: str
    batch: Batch


def held_out_clouds(sizes: list[int], count: int, device: str) -> Iterator[HeldOut[Clouds]]:
    """For each kind and number of points, `count` uniform clouds with a little noise."""
    rng = np.random.default_rng(CLOUD_SEED)
    surface = max(sizes)
    bodies = [draw_body(rng, surface, PLACES, held_out=True) for _ in range(count)]
    # On the CPU, so that they are the same everywhere.
    solids, _ = sample(draw_solids(rng, count), surface, PLACES, torch.Generator().manual_seed(CLOUD_SEED))
    for kind, shapes in (("bodies", stack(bodies)), ("solids", solids)):
        for points in sizes:
            generator = torch.Generator().manual_seed(CLOUD_SEED)
            clouds = draw_plain_clouds(shapes, points, NOISE, True, generator)
            on_device = (getattr(clouds, field.name).to(device) for field in fields(Clouds))
            yield HeldOut(f"{kind}_{points}", Clouds(*on_device))


def held_out_sets(sizes: list[int], view: int, count: int, device: str) -> Iterator[HeldOut[Pairs]]:
    """For each kind, `count` pairs of each number of points, and of `view` points seen from one side."""
    for kind in KINDS:
        for points in sizes:
            yield HeldOut(f"{kind}_{points}", held_out_pairs(kind, points, count, device))
        yield HeldOut(f"{kind}_view", held_out_pairs(kind, view, count, device, views=1.0))


def held_out_pairs(
    kind: str,
    points: int,
    count: int,
    device: torch.device | str,
    views: float = 0.0,
    queries: int = QUERIES,
) -> Pairs:
    """`count` pairs of unseen people or of other solids; `views` is the share seen from one side.

    The same for the same arguments on one kind of device.
    """
    generator = torch.Generator(device).manual_seed(PAIR_SEED + points)
    counts = (points, points, queries)
    if kind == "bodies":
        pool = BodyPool(HELD_OUT_ADULTS, PAIR_SEED, min(count, 32), device)
        particles = pool.draw(count, spare(counts), generator)
    else:
        skeletons = draw_skeletons(count, PAIR_SEED).to(device)
        particles = draw_moving_solids(skeletons, spare(counts), generator)
    return observe(particles, counts, views, 0.0, generator)
