"""One frame: move a graph until its surface lies on a cloud, by Gauss-Newton on robust distances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model.registration.clouds import Cloud, nearest, search_tree
from model.registration.graph import Graph, Motion, Moved, Skin, step
from model.registration.kernels import Floats, Ints, add_observations

POINT = 0.05  # weight of distances along the surface against those across it
CONVERGED = 0.02  # step of a node, in units of the reach, under which a stage is done
POINTS, SPACING = 2000, 0.012  # of the clouds that the stages are meant for
BACK = 800  # samples of the surface that look for the cloud


class Stage(NamedTuple):
    """Stiffness, the residual from which an observation counts less, how far to look, and how often."""

    stiffness: float
    scale: float
    reach: float
    rounds: int


class Observations(NamedTuple):
    """Samples of the surface and where they should be: residual = now - wanted."""

    chosen: Ints  # [O]
    residuals: Floats  # [O, 3]
    directions: Floats  # [O, 3], unit
    plane: Floats  # [O], weight along the direction
    point: Floats  # [O], weight in every direction


class Prior(NamedTuple):
    """A motion to stay near, and with what weight for a node."""

    motion: Motion
    weight: float


@dataclass(frozen=True)
class Level:
    """A graph, evenly spread samples of its surface, and the relative stiffness of its edges."""

    graph: Graph
    skin: Skin
    rigidity: Floats  # [E], mean 1
    yielding: float  # length of an edge's residual from which it gives way: bends gather in few places


def fit(
    level: Level,
    cloud: Cloud,
    motion: Motion,
    stages: Sequence[Stage],
    complete: bool,
    goals: Sequence[Observations] = (),
    prior: Prior | None = None,
) -> Motion:
    """Improve a motion until the surface lies on the cloud, through stages from stiff to soft.

    `complete` is whether the cloud covers the whole surface; `goals` are observations whose `residuals` hold
    the places where the samples should be.
    """
    graph = level.graph
    for stage in (suited(stage, cloud) for stage in stages):
        for _ in range(stage.rounds):
            moved = graph.move(level.skin, motion)
            band, right = graph.equations(
                motion, stage.stiffness / len(graph.edges) * stiffness(level, motion)
            )
            seen = [to_surface(moved, cloud, stage)]
            if complete:
                seen.append(to_cloud(moved, cloud, stage))
            seen += [g._replace(residuals=moved.points[g.chosen] - g.residuals) for g in goals]
            for o in seen:
                add_observations(band, right, level.skin.nodes, level.skin.weights, moved.arms, *o)
            if prior is not None:
                add_prior(band, right, motion, prior)
            before, motion = motion, step(motion, band, right, 1e-8)
            if np.abs(motion.positions - before.positions).max() < CONVERGED * stage.reach:
                break
    return motion


def suited(stage: Stage, cloud: Cloud) -> Stage:
    """A stage for the sampling of a cloud: few points are far apart, and say less of each node."""
    if not stage.reach:
        return stage
    wide = max(1.0, cloud.spacing / SPACING)
    stiff = float(np.clip(POINTS / len(cloud.points), 0.5, 8.0))
    return stage._replace(stiffness=stage.stiffness * stiff, reach=stage.reach * wide)


def stiffness(level: Level, motion: Motion) -> Floats:
    """Relative stiffness [E] of the edges, those that already bend less: an L1 norm by reweighting."""
    bent = (level.graph.stretch(motion) ** 2).sum(1)
    result: Floats = level.rigidity * level.yielding / np.sqrt(bent + level.yielding**2)
    return result


def add_prior(band: Floats, right: Floats, motion: Motion, prior: Prior) -> None:
    """Hold the nodes' positions near those of another motion."""
    index = 6 * np.arange(len(motion.positions))[:, None] + np.arange(3, 6)
    band[index, 0] += prior.weight
    right[index] -= prior.weight * (motion.positions - prior.motion.positions)


def robust(residual: Floats, scale: float) -> Floats:
    """Weights of Huber's loss."""
    return 1 / np.maximum(1, np.abs(residual) / scale)


def to_surface(moved: Moved, cloud: Cloud, stage: Stage) -> Observations:
    """Every point of the cloud pulls the nearest sample, across the surface."""
    distance, found = nearest(search_tree(moved.points), cloud.points)
    gap, normal = moved.points[found] - cloud.points, moved.normals[found]
    across = (gap * normal).sum(1)
    weight = (distance < stage.reach) * robust(across, stage.scale) / len(gap)
    return Observations(found, gap, normal, weight, POINT * weight)


def to_cloud(moved: Moved, cloud: Cloud, stage: Stage) -> Observations:
    """Samples of the surface go to the points around them."""
    chosen = np.arange(min(BACK, len(moved.points)))
    distance, found = nearest(cloud.tree, moved.points[chosen], 3)
    gap, normal = moved.points[chosen] - cloud.points[found].mean(1), moved.normals[chosen]
    across = (gap * normal).sum(1)
    weight = 0.5 * (distance[:, 0] < stage.reach) * robust(across, stage.scale) / len(gap)
    return Observations(chosen, gap, np.ascontiguousarray(normal), weight, np.zeros(len(gap)))
