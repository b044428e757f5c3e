"""Registration on a device, by torch. What threads ask for at the same time is computed as one batch."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.compiled import Flags, Floats, Ints
from model.registration.batches import Batches
from model.registration.clouds import Cloud
from model.registration.descent import Pull, Surface
from model.registration.graph import Motion
from model.registration.torch_descent import FAR, SurfaceTensors, Targets, descend, misfit, nearest
from model.registration.transport import LEAST

PARTS = 16  # of a sequence
BATCH = 32  # frames; their normal equations take 180 MB


class Frame(NamedTuple):
    """One frame that is asked about."""

    surface: SurfaceTensors
    cloud: Cloud
    pull: Pull
    motion: Motion
    cap: float = 0.0

    @property
    def kind(self) -> tuple[object, ...]:
        """What frames of one batch have in common."""
        return id(self.surface), self.pull.reach > 0, bool(self.pull.seen.any()), self.pull.rounds, self.cap


class TorchBackend:
    """Tensors of one data type on a device; implements `backends.Backend`."""

    parts: int = PARTS
    threads: int | None = PARTS

    def __init__(self, device: str, dtype: torch.dtype = torch.float32) -> None:
        self.device, self.dtype = device, dtype
        kind: Callable[[Frame], tuple[object, ...]] = lambda frame: frame.kind  # noqa: E731
        self._descend: Batches[Frame, Motion] = Batches(self.descend_all, kind, BATCH)
        self._misfit: Batches[Frame, float] = Batches(self.misfit_all, kind, BATCH)

    def load(self, surface: Surface) -> SurfaceTensors:
        return SurfaceTensors.of(surface, self.device, self.dtype)

    def descend(self, surface: SurfaceTensors, cloud: Cloud, pull: Pull, motion: Motion) -> Motion:
        return self._descend(Frame(surface, cloud, pull, motion))

    def misfit(self, surface: SurfaceTensors, cloud: Cloud, motion: Motion, seen: Flags, cap: float) -> float:
        nothing = np.zeros((0, 3))
        pull = Pull(0.0, 1.0, cap, 0, seen, nothing, nothing[:, 0], motion.positions, 0.0, 1.0)
        return self._misfit(Frame(surface, cloud, pull, motion, cap))

    def nearest(self, points: Floats, queries: Floats, count: int, reach: float) -> tuple[Floats, Ints]:
        center = points.mean(0)  # for single precision
        known, asked = self._tensor((points - center)[None]), self._tensor((queries - center)[None])
        within = min(count, len(points))
        distance, index = (found[0].cpu().numpy() for found in nearest(known, asked, within))
        distance = np.pad(distance.astype(np.float64), ((0, 0), (0, count - within)), constant_values=np.inf)
        index = np.pad(index, ((0, 0), (0, count - within)))
        off = distance[:, 0] >= reach
        distance[off], index[off] = np.inf, 0
        return distance, index

    def transport(
        self,
        source: Floats,
        source_masses: Floats,
        target: Floats,
        target_masses: Floats,
        blur: float,
        reach: tuple[float, float],
        rounds: int,
    ) -> tuple[Floats, Floats]:
        places, masses, goals, shares = map(
            self._tensor, (source, source_masses, target, target_masses)
        )  # [A, 3], [A], [B, 3], [B]
        apart = torch.cdist(places, goals, compute_mode="donot_use_mm_for_euclid_dist")  # [A, B]
        kernel = (apart**2 / (-2 * blur**2)).exp() + LEAST
        give, take = (r**2 / (r**2 + blur**2) for r in reach)
        left, right = torch.ones_like(masses), torch.ones_like(shares)
        for _ in range(rounds):
            right = (shares / (kernel.T @ left)) ** take
            left = (masses / (kernel @ right)) ** give
        plan = left[:, None] * kernel * right
        mass = plan.sum(1)
        found = plan @ goals / mass[:, None], (mass / masses).clamp(max=1.0)
        to, placed = (tensor.double().cpu().numpy() for tensor in found)
        return to, placed

    def _tensor(self, array: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, self.dtype)

    def _motions(self, frames: Sequence[Frame]) -> tuple[Tensor, Tensor]:
        rotations, positions = (
            torch.from_numpy(np.stack([frame.motion[part] for frame in frames])).to(self.device)
            for part in (0, 1)
        )
        return rotations, positions  # [B, M, 3, 3], [B, M, 3], float64

    def _targets(self, frames: Sequence[Frame]) -> Targets:
        pulls, clouds = [frame.pull for frame in frames], [frame.cloud.points for frame in frames]
        tensor = self._tensor
        stiffness, scale, reach, hold, slack = tensor(
            np.array([(p.stiffness, p.scale, p.reach, p.hold, p.slack) for p in pulls])
        ).T
        return Targets(
            points=tensor(_filled(clouds, FAR)),
            counts=tensor(np.array([float(len(cloud)) for cloud in clouds])),
            goals=tensor(_filled([p.goals for p in pulls], 0.0)),
            goal_weights=tensor(_filled([p.weights for p in pulls], 0.0)),
            expected=tensor(np.stack([p.expected for p in pulls])),
            stiffness=stiffness,
            scale=scale,
            reach=reach,
            hold=hold,
            slack=slack,
            rounds=pulls[0].rounds,
            seen=self._seen(pulls),
        )

    def _seen(self, pulls: Sequence[Pull]) -> Tensor | None:
        if not pulls[0].seen.any():
            return None
        return torch.from_numpy(np.stack([p.seen for p in pulls])).to(self.device)

    def descend_all(self, frames: list[Frame]) -> list[Motion]:
        """As `descend` for frames of one kind."""
        searching = frames[0].pull.reach > 0
        found = descend(frames[0].surface, self._targets(frames), *self._motions(frames), searching)
        rotations, positions = (tensor.cpu().numpy() for tensor in found)
        return [Motion(*motion) for motion in zip(rotations, positions, strict=True)]

    def misfit_all(self, frames: list[Frame]) -> list[float]:
        """As `misfit` for frames of one kind."""
        found = misfit(frames[0].surface, self._targets(frames), *self._motions(frames), frames[0].cap)
        values: list[float] = found.tolist()
        return values


def _filled(arrays: Sequence[Floats], value: float) -> Floats:
    """Arrays [N_b, …] as one [B, N, …], the shorter ones filled up with a value."""
    filled = np.full((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), value)
    for row, array in zip(filled, arrays, strict=True):
        row[: len(array)] = array
    return filled
