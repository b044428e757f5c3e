"""Parts that have turned far from one frame to the next, such as a head that looks round.

What transport and distances start from is at most some 45° off; here parts are laid on a cloud as rigid
things from all around.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from model.canceling import cancelable
from model.cells import Cells, nearest_in_cells
from model.compiled import Floats, Ints, compiled
from model.meshes.topology import connected_parts
from model.registration.clouds import Cloud
from model.registration.fitting import Level
from model.registration.graph import Motion
from model.registration.motions import take
from model.registration.parallel import cores, side_by_side
from model.registration.registering import Fitted, Start, register
from model.registration.rotations import nearest_rotations, polar_rotations, set_cofactors
from model.registration.template import Template

# Shares of the frames in which an edge within a part keeps its length and direction; the smaller one is for a
# part that is lost in most of them.
STEADY = (0.75, 0.25)
SMALLEST = 0.04  # share of the nodes that a part has at least
LOOKED_AT = 120  # samples of a part
ROUNDS, KEPT, FURTHER = 8, 2, 24  # of iterative closest points: at first, and of the best so many
ALONE = 4  # of the largest parts are turned alone as well
SETTLED, TINY = 1e-9, 1e-30  # step after which there is no other; square that is not divided by
TRIMMED = 0.8  # share of a part that lies on the cloud: what is inside of joints does not
BETTER = 0.95  # of the mean distance as it lies, from which a part is turned
LOST = 1.15  # energy over the usual one from which a frame may have lost a part
ABRUPT = 4.0  # times the usual step between energies of frames from which one is a leap
AROUND = 3  # frames before and after, the median of whose energies is the usual one
CLEARLY = 0.95  # times the energy as it lies, under which it is believed


class Laid(NamedTuple):
    """A part that is turned and shifted, its mean distance to the cloud there, and the one as it lay."""

    nodes: Ints
    turn: Floats  # [3, 3]
    shift: Floats  # [3]
    distance: float
    usual: float


def turn_parts(
    template: Template,
    clouds: Sequence[Cloud],
    motions: Sequence[Motion],
    energies: Sequence[float],
    report: Callable[[float], None],
    cuts: Sequence[int] = (),
) -> list[Motion]:
    """The motions with parts turned in frames whose energies are high, where that makes them fit better.

    The clouds cover the whole surface; no neighbor is asked over `cuts`, where takes begin. The fraction that
    is reported falls back where frames are added.
    """
    level, result, least = template.level, list(motions), np.array(energies)
    lost = lost_frames(least)
    groups = rigid_parts(level, motions) if lost else []

    def starts(t: int, sources: Sequence[int]) -> Iterator[Motion]:
        for i in sources:
            if i != t:
                yield result[i]
            for parts in groups:
                anew = side_by_side(partial(laid_anew, level, clouds[t], result[i]), parts)
                found = [laid for laid in anew if laid is not None]
                better = [laid for laid in found if laid.distance < BETTER * laid.usual]
                if better:
                    yield with_parts(result[i], better)
                if i == t:
                    largest = sorted(found, key=lambda laid: -len(laid.nodes))[:ALONE]
                    yield from (with_parts(result[i], [laid]) for laid in largest)

    def beside(t: int) -> list[int]:
        begin, end = take(t, len(clouds), cuts)
        return [i for i in (t - 1, t + 1) if begin <= i < end]

    def improved(t: int, sources: Sequence[int]) -> Fitted | None:
        """The first motion from a start that fits clearly better."""
        remaining, at_once = starts(t, sources), 1  # the first is often enough, and parts need not be laid
        while some := list(islice(remaining, at_once)):
            tried = side_by_side(lambda m: register(template, clouds[t], [Start(m, False)], True), some)
            better = [found for found in tried if found.energy < CLEARLY * least[t]]
            if better:
                return better[0]
            at_once = cores(level.backend.threads)
        return None

    waiting = [(t, [t, *beside(t)]) for t in lost]
    for done, (t, sources) in enumerate(cancelable(waiting)):  # which grows as frames are found
        report(done / len(waiting))
        found = improved(t, sources)
        if found is not None:
            result[t], least[t] = found
            # Where the way there or back takes several frames, these may be lost too, if less clearly.
            waiting += [(i, [t, i]) for i in beside(t) if i != sources[0]]
    return result


def lost_frames(energies: Floats) -> list[int]:
    """The frames whose energies [T] stand out from those around them, the clearest first.

    Also the one beyond a step that is much larger than other steps: a part that is lost from there to the end
    stands out from half of the frames around it only.
    """
    frames = range(len(energies))
    usual = np.array([np.median(energies[max(0, t - AROUND) : t + AROUND + 1]) for t in frames])
    steps = np.diff(np.log(np.maximum(energies, np.finfo(float).tiny)))
    typical = np.median(np.abs(steps)) if len(steps) else 0.0
    for t in np.flatnonzero(np.abs(steps) > max(np.log(LOST), ABRUPT * typical)):
        higher, lower = (t + 1, t) if steps[t] > 0 else (t, t + 1)
        usual[higher] = min(usual[higher], energies[lower])
    return sorted(np.flatnonzero(energies > LOST * usual).tolist(), key=lambda t: -energies[t] / usual[t])


def rigid_parts(level: Level, motions: Sequence[Motion]) -> list[list[Ints]]:
    """The nodes of each part that moves as one in most frames, or in some, but small ones."""
    graph = level.graph
    bent = np.stack([np.linalg.norm(graph.stretch(m), axis=1) for m in cancelable(motions)])  # [T, E]
    groups = []
    for share in STEADY:
        stiff = graph.edges[np.quantile(bent, share, axis=0) < level.yielding]
        part = connected_parts(stiff, len(graph.rest))  # [M]
        sizes = np.bincount(part)
        groups.append([np.flatnonzero(part == p) for p in np.flatnonzero(sizes >= SMALLEST * len(part))])
    return groups


def laid_anew(level: Level, cloud: Cloud, motion: Motion, nodes: Ints) -> Laid | None:
    """The best way to lay a part, its nodes given, on a cloud from all around; None if it is too small."""
    within = np.flatnonzero(np.isin(level.skin.nodes[:, 0], nodes))[:LOOKED_AT]
    rest = level.skin.points[within]
    if len(rest) < 8:
        return None
    turn, shift = _rigid(level.graph.rest[nodes], motion.positions[nodes])
    placed = rest @ turn.T + shift
    center = placed.mean(axis=0)
    axes = np.linalg.svd(placed - center, full_matrices=False)[2]
    turned = (placed - center) @ _turns(axes).transpose(0, 2, 1) + center  # [K, N, 3]
    first, begun = _laid(np.concatenate([placed[None], turned]), cloud.cells, cloud.points, ROUNDS)
    # The part as it lies goes on beside the best, as what these are compared with.
    last, onto = _laid(
        begun[[0, *(1 + np.argsort(first[1:], kind="stable")[:KEPT])]], cloud.cells, cloud.points, FURTHER
    )
    best = 1 + int(np.argmin(last[1:]))
    return Laid(nodes, *_rigid(placed, onto[best]), float(last[best]), float(last[0]))


def with_parts(motion: Motion, parts: Iterable[Laid]) -> Motion:
    """The motion with parts laid elsewhere."""
    rotations, positions = motion.rotations.copy(), motion.positions.copy()
    for laid in parts:
        rotations[laid.nodes] = laid.turn @ rotations[laid.nodes]
        positions[laid.nodes] = positions[laid.nodes] @ laid.turn.T + laid.shift
    return Motion(rotations, positions)


@compiled
def _laid(points: Floats, cells: Cells, cloud: Floats, rounds: int) -> tuple[Floats, Floats]:
    """Points [K, N, 3], each N moved onto a cloud [M, 3] as one: mean distances [K] of the nearest; where."""
    kept = int(TRIMMED * points.shape[1])
    result, distances = points.copy(), np.empty(len(points))
    before, after, turned = np.empty(3), np.empty(3), np.empty(3)
    matrix, across = np.empty((1, 3, 3)), np.empty((3, 3))
    for k in range(len(points)):
        here = result[k]
        for _ in range(rounds):
            distance, index = nearest_in_cells(cells, here, 1, np.inf)
            near = distance[:, 0] <= np.sort(distance[:, 0])[kept - 1]
            count = near.sum()
            before[:], after[:], matrix[:] = 0, 0, 0
            for n in range(len(here)):
                if near[n]:
                    before += here[n] / count
                    after += cloud[index[n, 0]] / count
            for n in range(len(here)):
                if near[n]:
                    for x in range(3):
                        for y in range(3):
                            matrix[0, x, y] += (cloud[index[n, 0], x] - after[x]) * (here[n, y] - before[y])
            turns, found = polar_rotations(matrix)
            if not found[0]:  # a sheet, for which the axis across it is known from the others
                set_cofactors(across, matrix[0])
                matrix[0] += across / np.sqrt((matrix[0] ** 2).sum() + TINY)
                turns, found = polar_rotations(matrix)
            if not found[0]:
                break
            change = 0.0
            for n in range(len(here)):
                for x in range(3):
                    turned[x] = after[x]
                    for y in range(3):
                        turned[x] += turns[0, x, y] * (here[n, y] - before[y])
                for x in range(3):
                    change = max(change, abs(turned[x] - here[n, x]))
                    here[n, x] = turned[x]
            if change < SETTLED:
                break
        distance, _ = nearest_in_cells(cells, here, 1, np.inf)
        distances[k] = np.sort(distance[:, 0])[:kept].mean()
    return distances, result


def _rigid(before: Floats, after: Floats) -> tuple[Floats, Floats]:
    """Rotation [3, 3] and shift [3] that take points [N, 3] nearest to others."""
    a, b = before.mean(axis=0), after.mean(axis=0)
    turn = nearest_rotations((after - b).T @ (before - a))
    return turn, b - turn @ a


def _turns(axes: Floats) -> Floats:
    """Rotations [9, 3, 3] by 90°, 180° and 270° about each of three axes, the rows of `axes`."""
    result = []
    for x in range(3):
        y, z = (x + 1) % 3, (x + 2) % 3
        for cos, sin in ((0, 1), (-1, 0), (0, -1)):
            turn = np.zeros((3, 3))
            turn[x, x], turn[y, y], turn[z, z], turn[y, z], turn[z, y] = 1, cos, cos, -sin, sin
            result.append(axes.T @ turn @ axes)
    return np.stack(result)
