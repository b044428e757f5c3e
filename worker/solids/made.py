"""Families of solids that look made: plates, blocks, tubes, joints. Each is in units of its own."""

import numpy as np

from worker.solids.drafts import (
    Part,
    Recipe,
    Rng,
    direction,
    draw_blend,
    limb,
    orientation,
    primitive,
    towards,
    turn_about,
    unit,
)
from worker.solids.parts import BOX, ELLIPSOID, REVOLVED


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
    parts = [primitive(rng, rng.normal(0, 0.15, 3)) for _ in range(rng.integers(1, 6))]
    for _ in range(rng.integers(0, 4)):
        place = parts[rng.integers(len(parts))].centre + rng.normal(0, 0.15, 3)
        cut = primitive(rng, place)
        cut.sign, cut.half = -1, cut.half * rng.uniform(0.3, 1.0)
        if rng.random() < 0.5:  # all the way through
            cut.half[1] = 2.0
        parts.append(cut)
    return Recipe(parts, draw_blend(rng, 0.03))


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
        handle.rotation = turn_about(np.array([1.0, 0, 0]), np.pi / 2)
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
        parts.append(Part(place, half, REVOLVED, orientation(rng), rounding, ring))
        place = place + direction(rng) * ring
    return Recipe(parts, draw_blend(rng, 0.02))


def glider(rng: Rng) -> Recipe:
    """A trunk with fins and wings: plates on a spindle."""
    length, girth = rng.uniform(0.5, 1.0), rng.uniform(0.04, 0.15)
    spindle = Part(np.zeros(3), np.array([girth, length, girth * rng.uniform(0.5, 1.5)]), ELLIPSOID)
    parts = (
        [spindle]
        if rng.random() < 0.5
        else [limb(np.array([0, -length, 0]), np.array([0, length, 0]), girth, 0)]
    )
    for _ in range(rng.integers(1, 4)):
        span, chord, thick = rng.uniform(0.2, 1.0), rng.uniform(0.05, 0.3), rng.uniform(0.008, 0.03)
        at, tilt = np.array([0, rng.uniform(-0.9, 0.9) * length, 0]), rng.uniform(-0.6, 0.6)
        about = rng.uniform(0, np.pi)
        for side in (-1, 1):
            way = np.array([side * np.cos(about), 0, np.sin(about)])
            turn = towards(unit(way + np.array([0, tilt, 0])))
            half = np.array([chord, span / 2, thick])
            parts.append(
                Part(at + turn[:, 1] * span / 2, half, BOX, turn, 0.9 * thick, taper=rng.uniform(-0.5, 0))
            )
    return Recipe(parts, draw_blend(rng, 0.02))


def machine(rng: Rng) -> Recipe:
    """A chain of boxes and cylinders on joints, such as a robot's arm, on a foot."""
    place, parts = np.zeros(3), [primitive(rng, np.zeros(3))]
    for _ in range(rng.integers(2, 7)):
        way = direction(rng)
        length, thick = rng.uniform(0.15, 0.5), rng.uniform(0.02, 0.1)
        half = np.array([thick, length / 2, thick * rng.uniform(0.4, 1.0)])
        kind = int(rng.choice([BOX, REVOLVED]))
        rounding = rng.choice([0.0, 0.5]) * float(half.min())
        parts.append(Part(place + way * length / 2, half, kind, towards(way), rounding))
        place = place + way * length
        joint = np.array([1.3, rng.uniform(0.8, 1.6), 1.3]) * thick
        parts.append(Part(place, joint, REVOLVED, orientation(rng), 0.1 * thick))
    return Recipe(parts)


def apart(rng: Rng) -> Recipe:
    """Things that do not touch, or just do."""
    parts = [primitive(rng, rng.uniform(-0.7, 0.7, 3)) for _ in range(rng.integers(2, 9))]
    for part in parts:
        part.half = part.half * rng.uniform(0.3, 0.9)
        part.rounding *= 0.3
    return Recipe(parts)
