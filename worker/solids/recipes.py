"""Random solids of many families: which parts they are made of, and how these are put together.

    solids = draw_solids(np.random.default_rng(7), 32)     # Solids within [-1, 1]³, on the CPU

Creatures, worms, animals, tables and chairs, overlapping blocks with holes, vessels, rings, gliders, machines
and things apart from each other: round and sharp, thick and as thin as a sheet, in all orientations.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worker.solids.parts import BOX, ELLIPSOID, REVOLVED, Solids

PARTS = 16  # most of one solid
WAVES = 2
EXTENT = 0.9  # of the largest coordinate
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


def draw_solids(rng: Rng, count: int) -> Solids:
    """`count` solids of random families."""
    drawn = [_columns(rng, draw_recipe(rng)) for _ in range(count)]
    stacked = {name: np.stack([columns[name] for columns in drawn]) for name in drawn[0]}
    return Solids(**{name: torch.from_numpy(column) for name, column in stacked.items()})


def draw_recipe(rng: Rng) -> Recipe:
    recipe = FAMILIES[rng.integers(len(FAMILIES))](rng)
    recipe.parts = recipe.parts[:PARTS]
    return recipe


# Families, each in units of its own.


def creature(rng: Rng) -> Recipe:
    """A random tree of limbs."""
    ends, radii, parts = [rng.normal(0, 0.1, 3)], [rng.uniform(0.03, 0.18)], []
    for _ in range(rng.integers(2, 15)):
        start = rng.integers(len(ends))
        end = ends[start] + _direction(rng) * rng.uniform(0.1, 0.6)
        radius = max(0.012, radii[start] * rng.uniform(0.4, 1.2))
        parts.append(_limb(ends[start], end, radius, rng.uniform(-0.4, 0.3)))
        ends.append(end)
        radii.append(radius)
    return Recipe(parts, _blend(rng, 0.05))


def worm(rng: Rng) -> Recipe:
    """A curve with a thickness: snakes, branches, ropes."""
    place, along, parts = np.zeros(3), _direction(rng), []
    radius, curl, length = rng.uniform(0.015, 0.12), rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.25)
    for _ in range(rng.integers(5, PARTS + 1)):
        end = place + along * length
        parts.append(_limb(place, end, radius, 0.0))
        place, along = end, _unit(along + curl * rng.normal(0, 0.6, 3))
        radius = max(0.012, radius * rng.uniform(0.8, 1.1))
    return Recipe(parts, _blend(rng, 0.02))


def animal(rng: Rng) -> Recipe:
    """A trunk, four legs in any pose, a neck, a head and a tail; or upright with arms."""
    length, girth, upright = rng.uniform(0.4, 0.9), rng.uniform(0.08, 0.2), rng.random() < 0.4
    axis = np.array([0.0, 1.0, 0.0]) if upright else _unit(np.array([1.0, rng.normal(0, 0.15), 0.0]))
    rear, front = -axis * length / 2, axis * length / 2
    parts = [_limb(rear, front, girth, rng.uniform(-0.3, 0.3))]
    leg, thickness = rng.uniform(0.35, 0.9), rng.uniform(0.02, 0.06) + 0.15 * girth
    width, swing = girth * rng.uniform(0.5, 1.0), rng.uniform(0.1, 0.6)
    for anchor in (rear, front):
        for side in (-1, 1):
            start = anchor * rng.uniform(0.75, 1.0) + np.array([0, 0, side * width])
            down = _unit(np.array([0, -1.0, 0.3 * side]) + swing * rng.normal(0, 1, 3))
            knee = start + down * leg / 2
            foot = knee + _unit(down + swing * rng.normal(0, 0.7, 3)) * leg / 2
            parts += [_limb(start, knee, thickness, -0.1), _limb(knee, foot, 0.75 * thickness, -0.2)]
    neck = front + _unit(axis + rng.normal(0, 0.4, 3)) * rng.uniform(0.05, 0.5)
    snout = neck + _unit(axis + rng.normal(0, 0.5, 3)) * rng.uniform(0.05, 0.3)
    parts += [_limb(front, neck, 0.5 * girth, -0.2), _limb(neck, snout, rng.uniform(0.4, 0.9) * girth, -0.2)]
    if rng.random() < 0.6:
        end = rear - _unit(axis + rng.normal(0, 0.5, 3)) * rng.uniform(0.2, 0.7)
        parts.append(_limb(rear, end, rng.uniform(0.015, 0.05), -0.5))
    return Recipe(parts, _blend(rng, 0.05))


def furniture(rng: Rng) -> Recipe:
    """A board on legs, with a back, shelves or rails: thin, flat and sharp."""
    wide, deep, high = rng.uniform(0.25, 1, 3)
    board, leg = rng.uniform(0.012, 0.06), rng.uniform(0.012, 0.06)
    rounding = rng.choice([0.0, 0.3, 0.9]) * min(board, leg)
    parts = [Part(np.array([0, high, 0]), np.array([wide, board, deep]), rounding=rounding)]
    kind, inset = int(rng.choice([BOX, REVOLVED])), rng.uniform(0.6, 1.0)
    for x in (-1, 1):
        for z in (-1, 1):
            place = np.array([x * inset * (wide - leg), high / 2, z * inset * (deep - leg)])
            parts.append(Part(place, np.array([leg, high / 2, leg]), kind, rounding=rounding))
    if rng.random() < 0.6:  # a back
        tall = rng.uniform(0.2, 1)
        place = np.array([0, high + tall, deep - board])
        parts.append(Part(place, np.array([wide, tall, board]), rounding=rounding))
    for level in rng.uniform(0.1, 0.9, rng.integers(0, 3)):  # shelves
        place = np.array([0, level * high, 0])
        parts.append(Part(place, np.array([wide, board, deep]), rounding=rounding))
    if rng.random() < 0.4:  # sides
        for x in (-1, 1):
            place = np.array([x * (wide - board), high * 1.15, 0])
            parts.append(Part(place, np.array([board, high * 0.2, deep]), rounding=rounding))
    return Recipe(parts)


def blocks(rng: Rng) -> Recipe:
    """Overlapping primitives, with others cut out."""
    parts = [_primitive(rng, rng.normal(0, 0.15, 3)) for _ in range(rng.integers(1, 6))]
    for _ in range(rng.integers(0, 4)):
        place = parts[rng.integers(len(parts))].centre + rng.normal(0, 0.15, 3)
        cut = _primitive(rng, place)
        cut.sign, cut.half = -1, cut.half * rng.uniform(0.3, 1.0)
        if rng.random() < 0.5:  # all the way through
            cut.half[1] = 2.0
        parts.append(cut)
    return Recipe(parts, _blend(rng, 0.03))


def vessel(rng: Rng) -> Recipe:
    """A cup, bowl or crate with thin walls, at times with a handle."""
    wide, high, wall = rng.uniform(0.2, 0.6), rng.uniform(0.1, 0.8), rng.uniform(0.015, 0.08)
    kind = int(rng.choice([BOX, REVOLVED, REVOLVED, ELLIPSOID]))
    deep = wide * rng.uniform(0.5, 1.0) if kind == BOX else wide
    taper, rounding = rng.uniform(-0.2, 0.4), rng.uniform(0, 0.5) * wall
    outer = Part(np.zeros(3), np.array([wide, high, deep]), kind, rounding=rounding, taper=taper)
    lift = rng.uniform(0.3, 1.5) * high if kind == ELLIPSOID else wall + 0.5 * high
    hollow = np.array([wide - wall, high - wall if kind == ELLIPSOID else 1.5 * high, deep - wall])
    inner_centre = np.array([0, 0 if kind == ELLIPSOID else lift, 0])
    parts = [outer, Part(inner_centre, hollow, kind, taper=taper * 0.7, sign=-1)]
    if kind == ELLIPSOID:  # and the upper part off
        parts.append(Part(np.array([0, lift + high, 0]), np.array([2.0, high, 2.0]), BOX, sign=-1))
    if rng.random() < 0.4:
        thickness = rng.uniform(0.015, 0.05)
        handle = Part(np.array([wide * 1.1, 0, 0]), np.array([thickness, thickness, thickness]), REVOLVED)
        handle.ring, handle.rounding = rng.uniform(0.3, 0.7) * high, thickness
        handle.rotation = _turn(np.array([1.0, 0, 0]), np.pi / 2)
        # The handle is a part of the vessel that nothing is cut out of: it lies outside.
        handle.centre[0] = wide + handle.ring * 0.8
        parts.append(handle)
    return Recipe(parts)


def rings(rng: Rng) -> Recipe:
    """Tori and tubes, at times linked."""
    parts, place = [], np.zeros(3)
    for _ in range(rng.integers(1, 5)):
        ring, thick = rng.uniform(0.15, 0.5), rng.uniform(0.015, 0.12)
        half = np.array([thick, thick * rng.choice([1, 1, 3, 6]), thick])
        rounding = thick * rng.choice([0, 0.3, 1])
        parts.append(Part(place, half, REVOLVED, _orientation(rng), rounding, ring))
        place = place + _direction(rng) * ring
    return Recipe(parts, _blend(rng, 0.02))


def glider(rng: Rng) -> Recipe:
    """A trunk with fins and wings: plates on a spindle."""
    length, girth = rng.uniform(0.5, 1.0), rng.uniform(0.04, 0.15)
    spindle = Part(np.zeros(3), np.array([girth, length, girth * rng.uniform(0.5, 1.5)]), ELLIPSOID)
    parts = (
        [spindle]
        if rng.random() < 0.5
        else [_limb(np.array([0, -length, 0]), np.array([0, length, 0]), girth, 0)]
    )
    for _ in range(rng.integers(1, 4)):
        span, chord, thick = rng.uniform(0.2, 1.0), rng.uniform(0.05, 0.3), rng.uniform(0.008, 0.03)
        at, tilt = np.array([0, rng.uniform(-0.9, 0.9) * length, 0]), rng.uniform(-0.6, 0.6)
        about = rng.uniform(0, np.pi)
        for side in (-1, 1):
            way = np.array([side * np.cos(about), 0, np.sin(about)])
            turn = _towards(_unit(way + np.array([0, tilt, 0])))
            half = np.array([chord, span / 2, thick])
            parts.append(
                Part(at + turn[:, 1] * span / 2, half, BOX, turn, 0.9 * thick, taper=rng.uniform(-0.5, 0))
            )
    return Recipe(parts, _blend(rng, 0.02))


def machine(rng: Rng) -> Recipe:
    """A chain of boxes and cylinders on joints, such as a robot's arm, on a foot."""
    place, parts = np.zeros(3), [_primitive(rng, np.zeros(3))]
    for _ in range(rng.integers(2, 7)):
        way = _direction(rng)
        length, thick = rng.uniform(0.15, 0.5), rng.uniform(0.02, 0.1)
        half = np.array([thick, length / 2, thick * rng.uniform(0.4, 1.0)])
        kind = int(rng.choice([BOX, REVOLVED]))
        rounding = rng.choice([0.0, 0.5]) * float(half.min())
        parts.append(Part(place + way * length / 2, half, kind, _towards(way), rounding))
        place = place + way * length
        joint = np.array([1.3, rng.uniform(0.8, 1.6), 1.3]) * thick
        parts.append(Part(place, joint, REVOLVED, _orientation(rng), 0.1 * thick))
    return Recipe(parts)


def apart(rng: Rng) -> Recipe:
    """Things that do not touch, or just do."""
    parts = [_primitive(rng, rng.uniform(-0.7, 0.7, 3)) for _ in range(rng.integers(2, 9))]
    for part in parts:
        part.half = part.half * rng.uniform(0.3, 0.9)
        part.rounding *= 0.3
    return Recipe(parts)


FAMILIES: tuple[Callable[[Rng], Recipe], ...] = (
    creature, creature, worm, animal, animal, furniture, blocks, blocks, vessel, rings, glider, machine,
    apart,
)  # fmt: skip


def _primitive(rng: Rng, place: Floats) -> Part:
    """A box, plate, rod, ball, cylinder, disc, cone, capsule, egg or ring."""
    kind = int(rng.integers(3))
    half = rng.uniform(0.05, 0.4, 3)
    if rng.random() < 0.35:  # thin in one direction or two
        half[rng.permutation(3)[: rng.integers(1, 3)]] = rng.uniform(0.01, 0.04)
    part = Part(place, half, kind, _orientation(rng))
    least = float(half.min() if kind == BOX else half[:2].min())
    part.rounding = least * rng.choice([0, 0, 0.2, 0.6, 1.0])
    part.taper = rng.choice([0.0, 0.0, rng.uniform(-0.8, 0.8)])
    if kind == REVOLVED and rng.random() < 0.25:
        part.ring = half[0] * rng.uniform(1, 3)
        part.taper = 0.0
    return part


def _limb(start: Floats, end: Floats, radius: float, taper: float) -> Part:
    """A capsule from one place to another."""
    length = float(np.linalg.norm(end - start))
    half = np.array([radius, length / 2 + radius, radius])
    way = (end - start) / max(length, 1e-9)
    return Part(
        (start + end) / 2, half, REVOLVED, _towards(way), 0.98 * radius * (1 - abs(taper)), taper=taper
    )


def _blend(rng: Rng, most: float) -> float:
    return SHARP if rng.random() < 0.4 else float(np.exp(rng.uniform(np.log(0.005), np.log(most))))


def _unit(vector: Floats) -> Floats:
    unit: Floats = vector / max(float(np.linalg.norm(vector)), 1e-9)
    return unit


def _direction(rng: Rng) -> Floats:
    return _unit(rng.normal(size=3))


def _orientation(rng: Rng) -> Floats:
    """A rotation [3, 3], uniform; one in three is along the axes."""
    if rng.random() < 1 / 3:
        return _turn(np.eye(3)[rng.integers(3)], np.pi / 2 * rng.integers(4))
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    rotation: Floats = q * np.sign(np.linalg.det(q))
    return rotation


def _towards(way: Floats) -> Floats:
    """A rotation [3, 3] that takes y to the unit vector `way`."""
    helper = np.eye(3)[np.abs(way).argmin()]
    x = _unit(np.cross(way, helper))
    return np.stack([x, way, np.cross(x, way)], axis=1)


def _turn(axis: Floats, angle: float) -> Floats:
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn: Floats = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turn


def _columns(rng: Rng, recipe: Recipe) -> dict[str, NDArray[Any]]:
    """The rows of `Solids` for one recipe: turned, moved into [-1, 1]³ and bent a little."""
    parts = recipe.parts
    turn = _orientation(rng)
    rotation = np.stack([turn @ part.rotation for part in parts])  # [K, 3, 3]
    centre = np.stack([turn @ part.centre for part in parts])
    half = np.stack([part.half for part in parts])
    reach = half * (1 + np.array([[abs(part.taper)] for part in parts]))
    revolved = [k for k, part in enumerate(parts) if part.kind == REVOLVED]
    half[revolved, 2] = half[revolved, 0]
    reach[revolved, 0] += [parts[k].ring for k in revolved]
    reach[revolved, 2] = reach[revolved, 0]
    spans = np.einsum("kij,kj->ki", np.abs(rotation), reach)
    added = np.array([part.sign > 0 for part in parts])
    low, high = (centre - spans)[added].min(axis=0), (centre + spans)[added].max(axis=0)
    scale = EXTENT / ((high - low).max() / 2)
    waves = np.zeros((WAVES, 7))
    if rng.random() < 0.4:
        frequency = rng.normal(0, 1, (WAVES, 3)) * rng.uniform(0.5, 5)
        size = rng.uniform(0, 0.3) / np.maximum(np.linalg.norm(frequency, axis=1, keepdims=True), 3)
        amplitude = size * np.stack([_direction(rng) for _ in range(WAVES)])
        waves = np.concatenate([frequency, rng.uniform(0, 2 * np.pi, (WAVES, 1)), amplitude], axis=1)
    columns = {
        "kind": np.array([part.kind for part in parts]),
        "sign": np.array([part.sign for part in parts]),
        "rotation": rotation,
        "centre": (centre - (low + high) / 2) * scale,
        "half": np.maximum(half * scale, 0.004),
        "rounding": np.array([part.rounding for part in parts]) * scale,
        "ring": np.array([part.ring for part in parts]) * scale,
        "taper": np.array([part.taper for part in parts]),
    }
    padded = {name: _padded(column) for name, column in columns.items()}
    padded["half"][len(parts) :] = 1.0
    return padded | {
        "blend": np.asarray(max(recipe.blend * scale, SHARP), dtype=np.float32),
        "waves": waves.astype(np.float32),
    }


def _padded(column: NDArray[Any]) -> NDArray[Any]:
    kind = np.int64 if column.dtype.kind == "i" else np.float32
    padded = np.zeros((PARTS, *column.shape[1:]), dtype=kind)
    padded[: len(column)] = column
    return padded
