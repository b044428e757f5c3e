"""Parts that have turned far from one frame to the next, such as a head that looks round.

What transport and distances start from is at most some 45° off; here parts are laid on a cloud as rigid
things from all around.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from model.canceling import cancelable
from model.compiled import Floats, Ints
from model.meshes.topology import connected_parts
from model.registration.clouds import Cloud, nearest
from model.registration.fitting import Level
from model.registration.graph import Motion, nearest_rotations
from model.registration.motions import take
from model.registration.registering import Start, energy, register
from model.registration.template import Template

STEADY = 0.75  # share of the frames in which an edge within a part keeps its length and direction
SMALLEST = 0.04  # share of the nodes that a part has at least
LOOKED_AT = 120  # samples of a part
ROUNDS = 8  # of an iterative closest point search
TRIMMED = 0.8  # share of a part that lies on the cloud: what is inside of joints does not
BETTER = 0.95  # of the mean distance as it lies, from which a part is turned
LOST = 1.25  # energy over the median from which a frame may have lost a part
CLEARLY = 0.9  # times the energy as it lies, under which it is believed
FRAMES = 8  # one in so many is looked at, of those the ones that fit worst


def turn_parts(
    template: Template, clouds: Sequence[Cloud], motions: Sequence[Motion], cuts: Sequence[int] = ()
) -> list[Motion]:
    """The motions with parts turned in frames that fit badly, where that makes them fit better.

    The clouds cover the whole surface; no neighbor is asked over `cuts`, where takes begin.
    """
    level, result = template.level, list(motions)
    energies = np.array([energy(level, c, m, True) for c, m in cancelable(zip(clouds, motions, strict=True))])
    worst = np.argsort(-energies)[: -(-len(clouds) // FRAMES)]
    enough = LOST * float(np.median(energies))
    lost = [int(t) for t in worst if energies[t] > enough]
    parts = rigid_parts(level, motions) if lost else []

    def starts(t: int) -> Iterator[Start]:
        begin, end = take(t, len(clouds), cuts)
        for i in (t, t - 1, t + 1):
            start = turned(level, parts, clouds[t], motions[i]) if begin <= i < end else None
            if start is not None:
                yield Start(start, False)

    for t in cancelable(lost):
        for start in starts(t):
            found = register(template, clouds[t], [start], True)
            if found.energy < CLEARLY * energies[t]:
                result[t], energies[t] = found
            if energies[t] < enough:
                break
    return result


def rigid_parts(level: Level, motions: Sequence[Motion]) -> list[Ints]:
    """The nodes of each part that moves as one in most frames, but small ones."""
    graph = level.graph
    bent = np.stack([np.linalg.norm(graph.stretch(m), axis=1) for m in cancelable(motions)])  # [T, E]
    stiff = graph.edges[np.quantile(bent, STEADY, axis=0) < level.yielding]
    part = connected_parts(stiff, len(graph.rest))  # [M]
    sizes = np.bincount(part)
    return [np.flatnonzero(part == p) for p in np.flatnonzero(sizes >= SMALLEST * len(part))]


def turned(level: Level, parts: Sequence[Ints], cloud: Cloud, motion: Motion) -> Motion | None:
    """The motion with those parts turned that lie better on the cloud then; None if none does."""
    rotations, positions = motion.rotations.copy(), motion.positions.copy()
    for nodes in cancelable(parts):
        within = np.flatnonzero(np.isin(level.skin.nodes[:, 0], nodes))[:LOOKED_AT]
        rest = level.skin.points[within]
        if len(rest) < 8:
            continue
        turn, shift = _rigid(level.graph.rest[nodes], motion.positions[nodes])
        placed = rest @ turn.T + shift
        center = placed.mean(axis=0)
        axes = np.linalg.svd(placed - center, full_matrices=False)[2]
        usual, _ = _laid(placed, cloud)
        found = [_laid((placed - center) @ by.T + center, cloud) for by in _turns(axes)]
        least, onto = min(found, key=lambda f: f[0])
        if least < BETTER * usual:
            by, shift = _rigid(placed, onto)
            rotations[nodes] = by @ rotations[nodes]
            positions[nodes] = positions[nodes] @ by.T + shift
    if (positions == motion.positions).all():
        return None
    return Motion(rotations, positions)


def _laid(points: Floats, cloud: Cloud) -> tuple[float, Floats]:
    """The mean distance, but of the furthest, of points [N, 3] moved onto a cloud as one; where."""
    kept = int(TRIMMED * len(points))
    for _ in range(ROUNDS):
        distance, index = nearest(cloud.tree, points)
        near = np.argpartition(distance, kept - 1)[:kept]
        turn, shift = _rigid(points[near], cloud.points[index[near]])
        points = points @ turn.T + shift
    distance, _ = nearest(cloud.tree, points)
    return float(np.sort(distance)[:kept].mean()), points


def _rigid(before: Floats, after: Floats) -> tuple[Floats, Floats]:
    """Rotation [3, 3] and shift [3] that take points [N, 3] nearest to others."""
    a, b = before.mean(axis=0), after.mean(axis=0)
    turn = nearest_rotations((after - b).T @ (before - a))
    return turn, b - turn @ a


def _turns(axes: Floats) -> list[Floats]:
    """Rotations by 90°, 180° and 270° about each of three axes, the rows of `axes`."""
    result = []
    for x in range(3):
        y, z = (x + 1) % 3, (x + 2) % 3
        for cos, sin in ((0, 1), (-1, 0), (0, -1)):
            turn = np.zeros((3, 3))
            turn[x, x], turn[y, y], turn[z, z], turn[y, z], turn[z, y] = 1, cos, cos, -sin, sin
            result.append(axes.T @ turn @ axes)
    return result
