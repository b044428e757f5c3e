"""Parts before they are tensors, and what families of solids draw them with."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worker.solids.parts import BOX, REVOLVED

PARTS = 16  # most of one solid
SHARP = 5e-4  # width of a blend that is none

Floats = NDArray[np.float64]
Rng = np.random.Generator


@dataclass
class Part:
    centre: Floats
    half: Floats
    kind: int = BOX
    rotation: Floats = field(default_factory=lambda: np.eye(3))
    rounding: float = 0.0
    ring: float = 0.0
    taper: float = 0.0
    sign: int = 1


@dataclass
class Recipe:
    parts: list[Part]
    blend: float = SHARP  # in units of the parts


def primitive(rng: Rng, place: Floats) -> Part:
    """A box, plate, rod, ball, cylinder, disc, cone, capsule, egg or ring."""
    kind = int(rng.integers(3))
    half = rng.uniform(0.05, 0.4, 3)
    if rng.random() < 0.35:  # thin in one direction or two
        half[rng.permutation(3)[: rng.integers(1, 3)]] = rng.uniform(0.01, 0.04)
    part = Part(place, half, kind, orientation(rng))
    least = float(half.min() if kind == BOX else half[:2].min())
    part.rounding = least * rng.choice([0, 0, 0.2, 0.6, 1.0])
    part.taper = rng.choice([0.0, 0.0, rng.uniform(-0.8, 0.8)])
    if kind == REVOLVED and rng.random() < 0.25:
        part.ring = half[0] * rng.uniform(1, 3)
        part.taper = 0.0
    return part


def limb(start: Floats, end: Floats, radius: float, taper: float) -> Part:
    """A capsule from one place to another."""
    length = float(np.linalg.norm(end - start))
    half = np.array([radius, length / 2 + radius, radius])
    way = (end - start) / max(length, 1e-9)
    return Part(
        (start + end) / 2, half, REVOLVED, towards(way), 0.98 * radius * (1 - abs(taper)), taper=taper
    )


def draw_blend(rng: Rng, most: float) -> float:
    return SHARP if rng.random() < 0.4 else float(np.exp(rng.uniform(np.log(0.005), np.log(most))))


def unit(vector: Floats) -> Floats:
    unit: Floats = vector / max(float(np.linalg.norm(vector)), 1e-9)
    return unit


def direction(rng: Rng) -> Floats:
    return unit(rng.normal(size=3))


def orientation(rng: Rng) -> Floats:
    """A rotation [3, 3], uniform; one in three is along the axes."""
    if rng.random() < 1 / 3:
        return turn_about(np.eye(3)[rng.integers(3)], np.pi / 2 * rng.integers(4))
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    rotation: Floats = q * np.sign(np.linalg.det(q))
    return rotation


def towards(way: Floats) -> Floats:
    """A rotation [3, 3] that takes y to the unit vector `way`."""
    helper = np.eye(3)[np.abs(way).argmin()]
    x = unit(np.cross(way, helper))
    return np.stack([x, way, np.cross(x, way)], axis=1)


def turn_about(axis: Floats, angle: float) -> Floats:
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn: Floats = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turn
