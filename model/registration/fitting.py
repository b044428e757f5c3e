"""One frame: move a graph until its surface lies on a cloud, by Gauss-Newton on robust distances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model.cells import nearest_in_cells, sort_into_cells
from model.compiled import Floats
from model.registration.clouds import Cloud
from model.registration.graph import Equations, Graph, Motion, Moved, Skin
from model.registration.kernels import add_samples, pull_samples, pull_to_points

POINT = 0.05  # weight of distances along the surface against those across it
CONVERGED = 0.02  # step of a node, in units of the reach, under which a stage is done
POINTS, SPACING = 2000, 0.012  # of the clouds that the stages are meant for
BACK = 800  # samples of the surface that look for the cloud
AVERAGED = 3  # points of the cloud that one of them goes to


class Stage(NamedTuple):
    """Stiffness, the residual from which an observation counts less, how far to look, and how often."""

    stiffness: float
    scale: float
    reach: float
    rounds: int


class Goals(NamedTuple):
    """Places [C, 3] where the first samples should be, and how much each counts [C]."""

    places: Floats
    weights: Floats


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
    goals: Goals | None = None,
    prior: Prior | None = None,
) -> Motion:
    """Improve a motion until the surface lies on the cloud, through stages from stiff to soft.

    `complete` is whether the cloud covers the whole surface.
    """
    graph = level.graph
    for stage in (suited(stage, cloud) for stage in stages):
        for _ in range(stage.rounds):
            moved = graph.move(level.skin, motion)
            equations = graph.equations(motion, stage.stiffness / len(graph.edges) * stiffness(level, motion))
            pulls = Pulls(moved, np.zeros((len(moved.points), 3, 3)), np.zeros((len(moved.points), 3)))
            if stage.reach:
                pulls.to_surface(cloud, stage)
            if stage.reach and complete:
                pulls.to_cloud(cloud, stage)
            if goals is not None:
                pulls.to_goals(goals)
            pulls.add_to(equations, level.skin)
            if prior is not None:
                add_prior(equations, motion, prior)
            before, motion = motion, equations.step(motion, 1e-8)
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


def add_prior(equations: Equations, motion: Motion, prior: Prior) -> None:
    """Hold the nodes' positions near those of another motion."""
    for unknown in range(3, 6):
        equations.blocks[equations.corners, unknown, unknown] += prior.weight
    equations.right[:, 3:] -= prior.weight * (motion.positions - prior.motion.positions)


class Pulls(NamedTuple):
    """What pulls the samples: the energy of a displacement d [3] of each is dᵀ metric d + 2 forceᵀ d."""

    moved: Moved
    metric: Floats  # [S, 3, 3]
    force: Floats  # [S, 3]

    def to_surface(self, cloud: Cloud, stage: Stage) -> None:
        """Every point of the cloud pulls the nearest sample, across the surface."""
        points, normals, _ = self.moved
        distance, found = nearest_in_cells(sort_into_cells(points), cloud.points, 1, stage.reach)
        pull_to_points(
            self.metric, self.force, points, normals, cloud.points, found[:, 0], distance[:, 0], stage.reach,
            stage.scale, POINT,
        )  # fmt: skip

    def to_cloud(self, cloud: Cloud, stage: Stage) -> None:
        """Samples of the surface go to the points around them."""
        points, normals, _ = self.moved
        distance, found = nearest_in_cells(cloud.cells, points[:BACK], AVERAGED, stage.reach)
        pull_samples(
            self.metric, self.force, points, normals, cloud.points, found, distance, stage.reach,
            stage.scale, 0.5,
        )  # fmt: skip

    def to_goals(self, goals: Goals) -> None:
        """Samples go where they should be."""
        few, weights = len(goals.places), goals.weights[:, None]
        self.force[:few] += weights * (self.moved.points[:few] - goals.places)
        for x in range(3):
            self.metric[:few, x, x] += goals.weights

    def add_to(self, equations: Equations, skin: Skin) -> None:
        blocks, right, structure = equations
        add_samples(
            blocks,
            right,
            structure.lookup,
            skin.nodes,
            skin.weights,
            self.moved.arms,
            self.metric,
            self.force,
        )
