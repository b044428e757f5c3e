"""Families of solids that look alive: limbs on limbs. Each is in units of its own."""

import numpy as np

from worker.solids.drafts import (
    PARTS,
    Part,
    Recipe,
    Rng,
    direction,
    draw_blend,
    limb,
    towards,
    turn_about,
    unit,
)
from worker.solids.parts import BOX, ELLIPSOID


def creature(rng: Rng) -> Recipe:
    """A random tree of limbs."""
    ends, radii, parts = [rng.normal(0, 0.1, 3)], [rng.uniform(0.03, 0.18)], []
    for _ in range(rng.integers(2, 15)):
        start = rng.integers(len(ends))
        end = ends[start] + direction(rng) * rng.uniform(0.1, 0.6)
        radius = max(0.012, radii[start] * rng.uniform(0.4, 1.2))
        parts.append(limb(ends[start], end, radius, rng.uniform(-0.4, 0.3)))
        ends.append(end)
        radii.append(radius)
    return Recipe(parts, draw_blend(rng, 0.05))


def worm(rng: Rng) -> Recipe:
    """A curve with a thickness: snakes, branches, ropes."""
    place, along, parts = np.zeros(3), direction(rng), []
    radius, curl, length = rng.uniform(0.015, 0.12), rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.25)
    for _ in range(rng.integers(5, PARTS + 1)):
        end = place + along * length
        parts.append(limb(place, end, radius, 0.0))
        place, along = end, unit(along + curl * rng.normal(0, 0.6, 3))
        radius = max(0.012, radius * rng.uniform(0.8, 1.1))
    return Recipe(parts, draw_blend(rng, 0.02))


def animal(rng: Rng) -> Recipe:
    """A trunk, four legs in any pose, a neck, a head and a tail; or upright with arms."""
    length, girth, upright = rng.uniform(0.4, 0.9), rng.uniform(0.08, 0.2), rng.random() < 0.4
    axis = np.array([0.0, 1.0, 0.0]) if upright else unit(np.array([1.0, rng.normal(0, 0.15), 0.0]))
    rear, front = -axis * length / 2, axis * length / 2
    parts = [limb(rear, front, girth, rng.uniform(-0.3, 0.3))]
    leg, thickness = rng.uniform(0.35, 0.9), rng.uniform(0.02, 0.06) + 0.15 * girth
    width, swing = girth * rng.uniform(0.5, 1.0), rng.uniform(0.1, 0.6)
    for anchor in (rear, front):
        for side in (-1, 1):
            start = anchor * rng.uniform(0.75, 1.0) + np.array([0, 0, side * width])
            down = unit(np.array([0, -1.0, 0.3 * side]) + swing * rng.normal(0, 1, 3))
            knee = start + down * leg / 2
            foot = knee + unit(down + swing * rng.normal(0, 0.7, 3)) * leg / 2
            parts += [limb(start, knee, thickness, -0.1), limb(knee, foot, 0.75 * thickness, -0.2)]
    neck = front + unit(axis + rng.normal(0, 0.4, 3)) * rng.uniform(0.05, 0.5)
    snout = neck + unit(axis + rng.normal(0, 0.5, 3)) * rng.uniform(0.05, 0.3)
    parts += [limb(front, neck, 0.5 * girth, -0.2), limb(neck, snout, rng.uniform(0.4, 0.9) * girth, -0.2)]
    if rng.random() < 0.6:
        end = rear - unit(axis + rng.normal(0, 0.5, 3)) * rng.uniform(0.2, 0.7)
        parts.append(limb(rear, end, rng.uniform(0.015, 0.05), -0.5))
    return Recipe(parts, draw_blend(rng, 0.05))


def hand(rng: Rng) -> Recipe:
    """A palm, four fingers and a thumb, stretched to clenched."""
    wide, thick = rng.uniform(0.16, 0.26), rng.uniform(0.05, 0.09)
    palm = np.array([wide, rng.uniform(0.22, 0.32), thick])
    parts = [Part(np.zeros(3), palm, BOX, rounding=0.9 * thick)]
    curl, spread = rng.uniform(-0.1, 1.5), rng.uniform(0, 0.35)
    for finger in range(5):
        share = finger / 2 - 1 if finger < 4 else 1.0  # across the palm, -1 … 0.5; the thumb at its side
        start = np.array([share * 0.8 * wide + 0.2 * wide, palm[1], 0.0])
        way, bend = unit(np.array([spread * share, 1.0, 0.0])), curl * rng.uniform(0.3, 1.2)
        if finger == 4:
            start, way = (
                np.array([wide, -0.3 * palm[1], 0.0]),
                unit(np.array([1.0, 0.8, rng.normal(0.3, 0.4)])),
            )
        radius, length = thick * rng.uniform(0.65, 0.95), palm[1] * rng.uniform(0.35, 0.55)
        for _ in range(3 if finger < 4 else 2):
            end = start + way * length
            parts.append(limb(start, end, radius, -0.05))
            start, radius, length = end, 0.9 * radius, 0.85 * length
            way = turn_about(np.array([1.0, 0, 0]), bend) @ way
    if rng.random() < 0.5:
        parts.append(limb(np.array([0, -palm[1], 0]), np.array([0, -2.5 * palm[1], 0]), 1.3 * thick, 0.1))
    return Recipe(parts, draw_blend(rng, 0.02))


def insect(rng: Rng) -> Recipe:
    """Round segments in a row with many bent legs, at times with wings."""
    parts, place = [], 0.0
    for _ in range(rng.integers(1, 4)):
        half = rng.uniform(0.06, 0.2, 3) * np.array([1, 1.4, 1])
        place += 0.7 * half[1]
        parts.append(Part(np.array([0, place, 0]), half, ELLIPSOID))
        place += 0.7 * half[1]
    pairs, radius = rng.integers(2, 4), rng.uniform(0.01, 0.035)
    reach, lift = rng.uniform(0.15, 0.5), rng.uniform(-0.3, 0.8)
    for pair in range(pairs):
        root = np.array([0, place * (pair + 0.7) / (pairs + 0.4), 0])
        for side in (-1, 1):
            way = unit(np.array([side, (pair - 1) * 0.5, lift]) + rng.normal(0, 0.2, 3))
            knee = root + way * reach
            foot = knee + unit(np.array([side * 0.4, (pair - 1) * 0.3, -1.0]) + rng.normal(0, 0.2, 3)) * reach
            parts += [limb(root, knee, radius, -0.2), limb(knee, foot, 0.8 * radius, -0.3)]
    if rng.random() < 0.3 and len(parts) <= PARTS - 2:
        for side in (-1, 1):
            turn = towards(unit(np.array([side, rng.uniform(-1, 0.5), rng.uniform(0, 1)])))
            half = np.array([rng.uniform(0.05, 0.2), rng.uniform(0.2, 0.4), 0.012])
            parts.append(Part(np.array([0, place / 2, 0.1]) + turn[:, 1] * half[1], half, ELLIPSOID, turn))
    return Recipe(parts, draw_blend(rng, 0.02))
