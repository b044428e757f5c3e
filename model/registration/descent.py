"""Gauss-Newton steps as one compiled loop; `reference.descend` is its plain twin."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.cells import Cells, nearest_in_cells, sort_into_cells
from model.compiled import Flags, Floats, Ints, compiled
from model.registration.cholesky import Structure, factorize, solve, substitute
from model.registration.kernels import (
    add_edges,
    add_samples,
    blend,
    pull_samples,
    pull_to_points,
    stretch,
    turned,
)
from model.registration.products import PADDED, SIZE

POINT = 0.05  # weight of distances along the surface against those across it
BACK = 800  # samples of the surface that look for the cloud
AVERAGED = 3  # points of the cloud that one of them goes to
BACKWARDS = 0.5  # weight of their pulls against those of the points
DAMPING = 1e-8
CONVERGED = 0.02  # step of a node, in units of the reach, under which a stage is done


class Surface(NamedTuple):
    """Samples of a surface, the nodes [S, K] that carry them, and the edges [E, 2] between the nodes."""

    points: Floats  # [S, 3], at rest
    normals: Floats  # [S, 3]
    nodes: Ints  # [S, K]
    weights: Floats  # [S, K]
    rest: Floats  # [M, 3], of the nodes
    edges: Ints  # [E, 2]
    rigidity: Floats  # [E], relative stiffness, mean 1
    yielding: float  # length of an edge's residual from which it gives way
    structure: Structure


class Pull(NamedTuple):
    """What a stage goes by: `stiffness`, `scale`, `reach` and `rounds` are those of `fitting.Stage`."""

    stiffness: float
    scale: float
    reach: float
    rounds: int
    seen: Flags  # [S], samples of the surface that look for the points, too
    goals: Floats  # [C, 3], where the first samples should be
    weights: Floats  # [C]
    expected: Floats  # [M, 3], positions that nodes are held near
    hold: float  # the weight of that for a node
    slack: float  # distance from there at which the weight is halved


@compiled
def relative_stiffness(residuals: Floats, rigidity: Floats, yielding: float) -> Floats:
    """Relative stiffness [E] of edges, those that already bend less: an L1 norm by reweighting."""
    stiffness = np.empty(len(residuals))
    for e in range(len(residuals)):
        bent = residuals[e, 0] ** 2 + residuals[e, 1] ** 2 + residuals[e, 2] ** 2
        stiffness[e] = rigidity[e] * yielding / np.sqrt(bent + yielding**2)
    return stiffness


@compiled
def descend(
    surface: Surface, points: Floats, cells: Cells, pull: Pull, rotations: Floats, positions: Floats
) -> tuple[Floats, Floats]:
    """The motion of the nodes after up to `pull.rounds` steps towards points [N, 3], sorted into `cells`."""
    # Without points to look for, only the samples with goals matter.
    count = len(surface.points) if pull.reach > 0 else len(pull.goals)
    nodes, weights = surface.nodes[:count], surface.weights[:count]
    blocks = np.empty((len(surface.structure.columns), SIZE, PADDED), np.float32)
    metric, force = np.empty((count, 3, 3)), np.empty((count, 3))
    right = np.empty((len(surface.rest), SIZE))
    for _ in range(pull.rounds):
        moved, normals, arms = blend(
            nodes,
            weights,
            surface.points[:count],
            surface.normals[:count],
            surface.rest,
            rotations,
            positions,
        )
        metric[:], force[:] = 0.0, 0.0
        if pull.reach > 0:
            distance, found = nearest_in_cells(sort_into_cells(moved), points, 1, pull.reach)
            pull_to_points(
                metric, force, moved, normals, points, found[:, 0].copy(), distance[:, 0].copy(), pull.reach,
                pull.scale, POINT,
            )  # fmt: skip
            if pull.seen.any():
                distance, found = nearest_in_cells(cells, moved[:BACK], AVERAGED, pull.reach)
                for s in range(len(distance)):
                    if not pull.seen[s]:
                        distance[s] = np.inf
                pull_samples(
                    metric, force, moved, normals, points, found, distance, pull.reach, pull.scale, BACKWARDS
                )
        for s in range(len(pull.goals)):
            for x in range(3):
                force[s, x] += pull.weights[s] * (moved[s, x] - pull.goals[s, x])
                metric[s, x, x] += pull.weights[s]
        assemble(blocks, right, surface, pull, rotations, positions, arms, metric, force)
        if factorize(blocks, surface.structure, right):
            step = substitute(blocks, surface.structure)
        else:  # nodes that few samples hold, which single precision cannot tell from none
            exact = np.empty(blocks.shape)
            assemble(exact, right, surface, pull, rotations, positions, arms, metric, force)
            step = solve(exact, surface.structure, right)
        rotations = turned(rotations, step[:, :3].copy())
        positions = positions + step[:, 3:]
        if np.abs(step[:, 3:]).max() < CONVERGED * pull.reach:
            break
    return rotations, positions


@compiled
def assemble(
    blocks: NDArray[Any],
    right: Floats,
    surface: Surface,
    pull: Pull,
    rotations: Floats,
    positions: Floats,
    arms: Floats,
    metric: Floats,
    force: Floats,
) -> None:
    """Fill in the normal equations, in the precision of their blocks [B, 6, 8]."""
    count, rest, edges, lookup = len(force), surface.rest, surface.edges, surface.structure.lookup
    blocks[:], right[:] = 0.0, 0.0
    residuals = stretch(edges, rest, rotations, positions)
    stiffness = relative_stiffness(residuals, surface.rigidity, surface.yielding)
    stiffness *= pull.stiffness / len(edges)
    add_edges(blocks, right, lookup, edges, rest, rotations, residuals, stiffness)
    add_samples(blocks, right, lookup, surface.nodes[:count], surface.weights[:count], arms, metric, force)
    for n in range(len(rest)):
        corner = blocks[lookup[n, n]]
        for x in range(SIZE):
            corner[x, x] += DAMPING
        if pull.hold > 0:
            off = 0.0
            for x in range(3):
                off += (positions[n, x] - pull.expected[n, x]) ** 2
            hold = pull.hold / (1.0 + off / pull.slack**2)
            for x in range(3):
                corner[3 + x, 3 + x] += hold
                right[n, 3 + x] -= hold * (positions[n, x] - pull.expected[n, x])
