"""A four-legged animal that walks: limbs that run into each other, posed by where its feet must be.

walker = draw_walker(np.random.default_rng(7))
solid = walker.at(0.25)                         # a quarter of a stride later, `Solids` of one
points = draw_points(solid, 1500, rng)          # [1500, 3] on its skin, metres; y is up, it walks towards +x

All is computed in double precision, so that the same seed gives the same animal on any processor.
"""

from dataclasses import dataclass

import numpy as np
import torch

from worker.solids.drafts import Floats, Part, limb, unit
from worker.solids.parts import ELLIPSOID, Solids

BLEND = 0.012  # metres over which limbs run into each other
STANCE = 0.62  # share of a stride that a foot is on the ground
SHELL = 0.015  # metres: what lies this near is drawn onto the skin
CANDIDATES = 8000  # places at a time
STEPS = 3  # towards the skin


@dataclass(frozen=True)
class Walker:
    """Lengths in metres."""

    length: float  # of the trunk
    girth: float  # radius of the chest
    height: float  # of hips and shoulders above the ground
    thickness: float  # radius of the upper legs
    stride: float  # how far it goes in one cycle of its legs
    lift: float  # of a foot in its swing
    phase: float  # in cycles

    def at(self, cycles: float) -> Solids:
        """Its shape after so many cycles of its legs, x = 0 under the middle of the trunk at 0."""
        angle = 2 * np.pi * (cycles + self.phase)
        bob = 0.012 * np.sin(2 * angle)
        middle = np.array([self.stride * cycles, self.height + 0.4 * self.girth + bob, 0.0])
        rear, front = (middle + np.array([side * self.length / 2, 0, 0]) for side in (-1, 1))
        parts = [
            limb(rear, middle, 0.85 * self.girth, 0.0),
            limb(middle, front + np.array([0, 0.02, 0]), 0.93 * self.girth, 0.08),
            *self._head(front, angle),
            *self._tail(rear, angle),
        ]
        for offset, along, side in ((0.0, -1, 1), (0.25, 1, 1), (0.5, -1, -1), (0.75, 1, -1)):
            hip = middle + np.array([along * 0.46 * self.length, -0.4 * self.girth, side * 0.62 * self.girth])
            parts += self._leg(hip, (cycles + self.phase + offset) % 1, hind=along < 0)
        return _solid(parts)

    def _head(self, front: Floats, angle: float) -> list[Part]:
        nod = 0.02 * np.sin(2 * angle + 1)
        nape = front + np.array([0.24, 0.27 + nod, 0])
        snout = nape + np.array([0.22, -0.07 + nod, 0])
        parts = [limb(front + np.array([0.02, 0.04, 0]), nape, 0.085, -0.25), limb(nape, snout, 0.065, -0.3)]
        parts.append(Part(nape + np.array([0.03, 0, 0]), np.array([0.1, 0.09, 0.085]), ELLIPSOID))
        ears = [nape + np.array([-0.02, 0.06, side * 0.06]) for side in (-1, 1)]
        tips = [ear + np.array([-0.03, 0.12, 0.4 * ear[2]]) for ear in ears]
        return parts + [limb(ear, tip, 0.028, -0.3) for ear, tip in zip(ears, tips, strict=True)]

    def _tail(self, rear: Floats, angle: float) -> list[Part]:
        sway = 0.08 * np.sin(angle)
        root = rear + np.array([-0.6 * self.girth, 0.06, 0])
        bend = root + np.array([-0.17, 0.0, sway])
        return [
            limb(root, bend, 0.036, -0.1),
            limb(bend, bend + np.array([-0.14, -0.16, 1.5 * sway]), 0.032, -0.2),
        ]

    def _leg(self, hip: Floats, phase: float, hind: bool) -> list[Part]:
        """Two bones from the hip to the ankle, and a paw, which stands still while it is on the ground."""
        radius = 0.72 * self.thickness
        step = STANCE * self.stride  # the way from where a foot is put down to where it is taken up
        if phase < STANCE:
            ahead, up = step * (0.5 - phase / STANCE), 0.0
        else:
            swing = (phase - STANCE) / (1 - STANCE)
            ahead, up = -step / 2 + step * (1 - np.cos(np.pi * swing)) / 2, self.lift * np.sin(np.pi * swing)
        ankle = np.array([hip[0] + ahead, radius + up, hip[2]])
        reach = 1.06 * (self.height - radius)  # of the straight leg
        knee = _knee(hip, ankle, 0.52 * reach, 0.48 * reach, hind)
        toes = ankle + np.array([0.075, -0.2 * up, 0])
        wide = 1.35 if hind else 1.1
        return [
            limb(hip, knee, wide * self.thickness, -0.2),
            limb(knee, ankle, 0.85 * self.thickness, -0.12),
            limb(ankle, toes, radius, 0.0),
        ]


def draw_walker(rng: np.random.Generator) -> Walker:
    """An animal of the size of a large dog, and how it walks."""
    return Walker(
        length=rng.uniform(0.62, 0.7),
        girth=rng.uniform(0.15, 0.17),
        height=rng.uniform(0.52, 0.58),
        thickness=rng.uniform(0.05, 0.055),
        stride=rng.uniform(0.6, 0.7),
        lift=rng.uniform(0.1, 0.14),
        phase=rng.uniform(),
    )


def draw_points(solid: Solids, count: int, rng: np.random.Generator) -> Floats:
    """[count, 3] on the surface of one solid, uniform by area.

    Places uniform in a shell of one thickness walk to the surface that is in its middle.
    """
    spans = torch.einsum("kij,kj->ki", solid.rotation[0].abs(), solid.half[0])  # [K, 3]
    low = (solid.centre[0] - spans).amin(dim=0).numpy() - SHELL
    high = (solid.centre[0] + spans).amax(dim=0).numpy() + SHELL
    found: list[Floats] = []
    while sum(map(len, found)) < count:
        places = torch.from_numpy(rng.uniform(low, high, (CANDIDATES, 3)))[None]  # [1, P, 3]
        distance, normals = solid.distance_and_normal(places)
        near = distance[0].abs() < SHELL
        places, distance, normals = places[:, near], distance[:, near], normals[:, near]
        for _ in range(STEPS):
            places = places - distance[..., None] * normals
            distance, normals = solid.distance_and_normal(places)
        found.append(places[0].numpy())
    return np.concatenate(found)[:count]


def _knee(hip: Floats, ankle: Floats, upper: float, lower: float, backward: bool) -> Floats:
    """Where two bones between these places meet, in the plane of the walk."""
    way = ankle - hip
    span = min(float(np.linalg.norm(way)), 0.999 * (upper + lower))
    along = (span**2 + upper**2 - lower**2) / (2 * span)
    out = np.sqrt(max(upper**2 - along**2, 0.0))
    x, y, _ = unit(way)
    across = np.array([y, -x, 0.0]) * (1 if backward else -1)
    knee: Floats = hip + unit(way) * along + across * out
    return knee


def _solid(parts: list[Part]) -> Solids:
    """One solid of these parts, in double precision."""

    def column(values: list[Floats] | list[float]) -> torch.Tensor:
        return torch.from_numpy(np.stack(values).astype(np.float64))[None]

    return Solids(
        kind=torch.tensor([[part.kind for part in parts]]),
        sign=torch.ones(1, len(parts), dtype=torch.int64),
        rotation=column([part.rotation for part in parts]),
        centre=column([part.centre for part in parts]),
        half=column([part.half for part in parts]),
        rounding=column([part.rounding for part in parts]),
        ring=column([part.ring for part in parts]),
        taper=column([part.taper for part in parts]),
        blend=torch.tensor([BLEND], dtype=torch.float64),
        waves=torch.zeros(1, 1, 7, dtype=torch.float64),
    )
