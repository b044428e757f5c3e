"""Particles on moving bodies, on the device: frames of many drawn scenes are kept there and renewed."""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from worker.bodies.scenes import Scenes
from worker.solids.particles import Particles, split
from worker.solids.stream import one_thread

FRAMES = 24  # of a scene, 60 a second
APART = 12  # frames between two that make a pair, at most


class SceneFrames(Dataset[Tensor]):
    """Scene i: vertices [FRAMES, V, 3], y up, in the longest side of its first frame."""

    def __init__(self, adults: tuple[int, ...], seed: int, start: int = 0, count: int = 2**31) -> None:
        self.scenes, self.seed, self.start, self.count = Scenes(adults, 1.0, 30.0), seed, start, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        rng = np.random.default_rng([self.seed, self.start + index])
        vertices = self.scenes.draw_milder(rng, FRAMES).vertices
        vertices = vertices / (vertices[0].max(axis=0) - vertices[0].min(axis=0)).max()
        return torch.from_numpy(vertices.astype(np.float32))


class BodyPool:
    """The last `size` scenes drawn, on a device; each call of `renew` replaces the oldest.

    What it holds follows from the number of scenes replaced so far: a pool that starts at `replaced` is the
    same as one that came there. `num_workers` processes draw ahead.
    """

    def __init__(
        self,
        adults: tuple[int, ...],
        seed: int,
        size: int,
        device: torch.device | str,
        replaced: int = 0,
        num_workers: int = 0,
    ) -> None:
        source = SceneFrames(adults, seed, start=replaced)
        self.faces = torch.from_numpy(source.scenes.rig.faces.astype(np.int64)).to(device)  # [F, 3]
        loader = DataLoader(
            source,
            batch_size=None,
            sampler=itertools.count(),
            num_workers=num_workers,
            prefetch_factor=8 if num_workers else None,
            pin_memory=torch.device(device).type == "cuda",
            worker_init_fn=one_thread,
        )
        self._feed: Iterator[Tensor] = iter(loader)
        first = [next(self._feed) for _ in range(size)]
        # Scene number n is in row n modulo the size, also where counting does not start at 0.
        self.vertices = torch.stack(first).roll(replaced % size, dims=0).to(device)  # [size, T, V, 3]
        self.replaced = replaced

    def renew(self, count: int) -> None:
        for _ in range(count):
            self.vertices[self.replaced % len(self.vertices)] = next(self._feed).to(
                self.vertices.device, non_blocking=True
            )
            self.replaced += 1

    def draw(self, batch: int, counts: tuple[int, int, int], generator: torch.Generator) -> Particles:
        """Particles of pairs of frames of scenes drawn from the pool."""
        device, frames = self.vertices.device, self.vertices.shape[1]
        scene = torch.randint(len(self.vertices), (batch,), device=device, generator=generator)
        start = torch.randint(frames, (batch,), device=device, generator=generator)
        step = torch.randint(-APART, APART + 1, (batch,), device=device, generator=generator)
        end = torch.where((start + step < 0) | (start + step >= frames), start - step, start + step)
        first, second = (
            self.vertices[scene, start],
            self.vertices[scene, end.clamp(0, frames - 1)],
        )  # [B, V, 3]
        sets = [
            _particles(corners, self.faces, count, generator)
            for corners, count in zip((first, second, first), counts, strict=True)
        ]
        rows = torch.cat([triangle for triangle, _ in sets], dim=1)  # [B, S]
        weights = torch.cat([weight for _, weight in sets], dim=1)
        on_first, on_second = (_on(corners, self.faces[rows], weights) for corners in (first, second))
        kept = torch.ones_like(rows, dtype=torch.bool)
        return split(on_first, on_second, kept, counts)


def _particles(
    vertices: Tensor, faces: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Triangles [B, count] and barycentric weights [B, count, 3], uniform by area on meshes [B, V, 3]."""
    a, b, c = (vertices[:, faces[:, corner]] for corner in range(3))  # [B, F, 3]
    areas = torch.linalg.cross(b - a, c - a).norm(dim=2).cumsum(dim=1)  # [B, F]
    drawn = torch.rand(len(vertices), count, device=vertices.device, generator=generator) * areas[:, -1:]
    triangle = torch.searchsorted(areas, drawn).clamp(max=len(faces) - 1)
    u, v = torch.rand(2, len(vertices), count, device=vertices.device, generator=generator)
    # Folding the unit square onto the triangle below its diagonal keeps the density uniform.
    beyond = u + v > 1
    u, v = torch.where(beyond, 1 - u, u), torch.where(beyond, 1 - v, v)
    return triangle, torch.stack([1 - u - v, u, v], dim=2)


def _on(vertices: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Points [B, S, 3] of vertices [B, V, 3], corners [B, S, 3] (vertex numbers) and weights [B, S, 3]."""
    rows = torch.arange(len(vertices), device=vertices.device)[:, None, None]
    return (vertices[rows, corners] * weights[..., None]).sum(dim=2)
