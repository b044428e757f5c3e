"""Families of random jointed things: quadrupeds, bipeds, insects, hands, plants, snakes, birds, robot arms,
loose parts and random trees.
"""

from collections.abc import Callable

import numpy as np

from worker.solids.skeletons import PARTS, UP
from worker.solids.trees import Tree


def _quadruped(tree: Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    length, width, depth = u(0.4, 0.9), u(0.12, 0.35), u(0.14, 0.35)
    torso = tree.add(None, (0, 0, 0), (0, 1, u(-0.2, 0.2)), (width, length, depth), (0.3, 0.3, 0.3))
    neck = tree.add(
        torso, (0, 0.95 * length, 0.2 * depth), (0, 1, u(0, 2)), (0.6 * width, u(0.1, 0.4), 0.6 * width)
    )
    reach = float(tree.rows[neck]["half"][1]) * 2
    head = tree.add(neck, (0, 0.9 * reach, 0), (0, 1, u(-2, 0)), (0.7 * width, u(0.12, 0.3), 0.6 * width))
    if u() < 0.4:
        tree.pair(
            head, (0.3 * width, 0.05, 0.2 * width), [(0.3, u(-0.3, 0.3), 1)], (0.05, u(0.05, 0.2), 0.02)
        )
    if u() < 0.8:
        tail = [(0.0, -1.0, u(-0.5, 1))] + [(0.0, 1.0, u(-0.3, 0.3))] * int(rng.integers(0, 4))
        tree.chain(torso, (0, 0.03, 0.2 * depth), tail, (u(0.03, 0.1), u(0.1, 0.25), u(0.03, 0.1)), 0.8)
    reach, thick, knee = u(0.15, 0.4), u(0.05, 0.14), u(0, 0.6)
    for place, bend in ((0.85, knee), (0.12, -knee)):
        steps = [(u(0, 0.15), bend, -1.0), (0.0, 1.0, -1.2 * bend)] + [(0.0, 1.0, u(0.3, 2))] * int(u() < 0.7)
        tree.pair(torso, (0.4 * width, place * length, -0.3 * depth), steps, (thick, reach, thick), 0.75)


def _biped(tree: Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    width, depth, trunk = u(0.18, 0.36), u(0.1, 0.25), u(0.3, 0.5)
    pelvis = tree.add(None, (0, 0, 0), UP, (width * u(0.8, 1.1), u(0.1, 0.2), depth), (0.3, 0.5, 0.3))
    torso = tree.add(
        pelvis, (0, 0.08, 0), UP, (width * u(0.9, 1.3), trunk, depth * u(0.8, 1.2)), (0.4, 0.4, 0.3)
    )
    tree.add(torso, (0, trunk * 1.03, 0), (0, 1, u(-0.2, 0.4)), (u(0.12, 0.3), u(0.18, 0.35), u(0.12, 0.3)))
    arm, thick, lift = u(0.2, 0.35), u(0.05, 0.11), u(-1.4, 1.0)
    arms = [(np.cos(lift), np.sin(lift), u(-0.3, 0.5)), (0.0, 1.0, u(0, 1)), (0.0, 1.0, u(-0.2, 0.4))]
    tree.pair(torso, (0.55 * width, 0.9 * trunk, 0), arms[: 2 + int(u() < 0.7)], (thick, arm, thick), 0.8)
    leg, thick = u(0.25, 0.45), u(0.08, 0.16)
    legs = [(u(0, 0.5), -1.0, u(-0.2, 0.6)), (0.0, 1.0, u(0, 0.5)), (0.0, 0.2, -1.0)]
    tree.pair(pelvis, (0.3 * width, 0.02, 0), legs, (thick, leg, thick), 0.75)


def _insect(tree: Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    length, width = u(0.2, 0.5), u(0.1, 0.35)
    body = tree.add(None, (0, 0, 0), UP, (width, length, u(0.08, 0.25)), (0.2, 0.2, 0.2))
    tree.add(body, (0, 0.97 * length, 0), UP, (u(0.08, 0.25), u(0.1, 0.25), u(0.08, 0.2)))
    tree.add(body, (0, 0.05, 0), (0, -1, u(-0.4, 0.4)), (u(0.1, 0.4), u(0.15, 0.5), u(0.1, 0.3)))
    reach, thick = u(0.15, 0.4), u(0.02, 0.07)
    for place in np.linspace(0.1, 0.9, int(rng.integers(3, 5))):
        steps = [(1.0, float(place) - 0.5, u(0, 0.8)), (0.0, 1.0, -u(0.3, 2))]
        tree.pair(body, (0.4 * width, float(place) * length, 0), steps, (thick, reach, thick))
    if u() < 0.4:
        tree.pair(
            body,
            (0.2 * width, 0.6 * length, 0.08),
            [(1, u(-0.5, 0.5), u(0, 1))],
            (u(0.1, 0.3), u(0.3, 0.7), 0.02),
        )


def _hand(tree: Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    palm_length, width, depth = u(0.3, 0.45), u(0.28, 0.42), u(0.08, 0.15)
    wrist = tree.add(None, (0, 0, 0), UP, (0.6 * width, u(0.1, 0.6), 1.1 * depth), (0.2, 0.1, 0.1))
    length = float(tree.rows[wrist]["half"][1]) * 2
    palm = tree.add(wrist, (0, 0.95 * length, 0), UP, (width, palm_length, depth), (0.6, 0.2, 0.4))
    curl = u(0, 0.8)
    for place in np.linspace(-0.42, 0.42, int(rng.integers(3, 5))):
        steps = [(0.4 * float(place), 1.0, -curl * u(0.5, 1))] + [(0.0, 1.0, -curl * u(0.5, 1.2))] * 2
        tree.chain(palm, (float(place) * width, 0.97 * palm_length, 0), steps, (0.07, u(0.1, 0.2), 0.07), 0.9)
    tree.chain(
        palm,
        (0.45 * width, 0.25 * palm_length, -0.2 * depth),
        [(1, u(0.3, 1.2), -u(0, 1)), (-0.3, 1, 0)],
        (0.08, 0.16, 0.08),
        0.9,
    )


def _plant(tree: Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    thick, length = u(0.05, 0.2), u(0.3, 0.6)
    tree.add(None, (0, 0, 0), UP, (thick, length, thick), (0.2, 0.1, 0.2))
    for _ in range(int(rng.integers(3, PARTS - 1))):
        parent = int(rng.integers(len(tree.rows)))
        half = np.asarray(tree.rows[parent]["half"]) * 2
        spread, around = u(0.2, 1.5), u(0, 2 * np.pi)
        tree.add(
            parent,
            (0, half[1] * u(0.4, 1), 0),
            (np.sin(spread) * np.cos(around), np.cos(spread), np.sin(spread) * np.sin(around)),
            (half[0] * u(0.5, 0.9), half[1] * u(0.5, 0.95), half[2] * u(0.5, 0.9)),
            (0.6, 0.3, 0.6),
        )


def _snake(tree: Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    thick, flat = u(0.06, 0.25), u(0.5, 1)
    root = tree.add(None, (0, 0, 0), UP, (thick, 0.15, thick * flat), (0.4, 0.3, 0.4))
    steps = [(u(-0.4, 0.4), 1.0, u(-0.4, 0.4)) for _ in range(int(rng.integers(4, PARTS - 1)))]
    tree.chain(root, (0, 0.15, 0), steps, (thick, 0.15, thick * flat), u(0.88, 1.02))


def _bird(tree: Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    length, width = u(0.3, 0.6), u(0.12, 0.3)
    body = tree.add(None, (0, 0, 0), UP, (width, length, width * u(0.7, 1.2)), (0.3, 0.3, 0.3))
    tree.chain(
        body, (0, 0.95 * length, 0), [(0, 1, u(0, 1.5)), (0, 1, u(-1.5, 0))], (0.08, u(0.08, 0.3), 0.08), 1.2
    )
    tree.add(body, (0, 0.03, 0), (0, -1, u(-0.3, 0.5)), (u(0.1, 0.3), u(0.1, 0.35), 0.02))
    span, chord, lift = u(0.25, 0.6), u(0.1, 0.35), u(-0.7, 0.7)
    wing = [(1.0, u(-0.4, 0.4), lift), (0.0, 1.0, u(-0.5, 0.3))]
    tree.pair(body, (0.4 * width, 0.6 * length, 0.2 * width), wing, (0.03, span, chord), 0.9)
    tree.pair(
        body,
        (0.3 * width, 0.3 * length, -0.4 * width),
        [(0.1, -0.2, -1), (0, 1, -0.8)],
        (0.04, u(0.08, 0.25), 0.04),
    )


def _arm(tree: Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    base = tree.add(None, (0, 0, 0), UP, (u(0.2, 0.6), u(0.08, 0.3), u(0.2, 0.6)), (0.05, 0.1, 0.05))
    joint, parent, thick = (0.0, 0.2, 0.0), base, u(0.08, 0.2)
    for _ in range(int(rng.integers(2, 6))):
        length = u(0.15, 0.5)
        parent = tree.add(parent, joint, (0, 1, u(-1.5, 1.5)), (thick, length, thick), (1, 0.5, 0.1))
        joint, thick = (0.0, length, 0.0), thick * u(0.7, 1)
    for side in (1, -1):
        tree.add(
            parent,
            (0.3 * thick, joint[1], 0),
            (0.3, 1, 0),
            (0.04, u(0.08, 0.2), 0.06),
            (0.1, 0.1, 1),
            0.2,
            side,
        )


def _loose(tree: Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    for number in range(int(rng.integers(1, 9))):
        place = (u(-0.5, 0.5), u(-0.5, 0.5), u(-0.5, 0.5)) if number else (0.0, 0.0, 0.0)
        direction = rng.normal(size=3)
        tree.add(
            0 if number else None, place, direction, (u(0.05, 0.5), u(0.1, 0.7), u(0.03, 0.4)), (1, 1, 1), 1.0
        )


def _anything(tree: Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    for number in range(int(rng.integers(2, PARTS))):
        parent = int(rng.integers(number)) if number else None
        length = float(np.asarray(tree.rows[parent]["half"])[1]) * 2 if parent is not None else 0.0
        thick = u(0.03, 0.25)
        tree.add(
            parent,
            (0.0, length * (1.0 if u() < 0.5 else u()), 0.0),
            rng.normal(size=3),
            (thick, u(0.1, 0.6), thick if u() < 0.6 else u(0.02, 0.3)),
            (1, 0.5, 1),
            0.2 * float(u() < 0.2),
        )


# Name of a family → what builds one of it, and how often it is drawn.
FAMILIES: dict[str, tuple[Callable[[Tree, np.random.Generator], None], float]] = {
    "quadruped": (_quadruped, 3),
    "biped": (_biped, 3),
    "insect": (_insect, 1.5),
    "hand": (_hand, 1.5),
    "plant": (_plant, 1),
    "snake": (_snake, 1),
    "bird": (_bird, 1),
    "arm": (_arm, 1),
    "loose": (_loose, 1.5),
    "anything": (_anything, 1.5),
}
