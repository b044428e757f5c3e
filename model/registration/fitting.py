"""One frame: move a graph until its surface lies on a cloud, by Gauss-Newton on robust distances."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from model.canceling import cancelable
from model.compiled import Flags, Floats
from model.registration.backends import NUMBA, Backend
from model.registration.clouds import Cloud
from model.registration.descent import Pull, Surface
from model.registration.graph import Graph, Motion, Skin
from model.registration.visibility import visible

POINTS, SPACING = 2000, 0.012  # of the clouds that the stages are meant for


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
    """A motion to stay near, by Cauchy's loss with `slack` of the distance of each node, times a weight."""

    motion: Motion
    weight: float
    slack: float

    def cost(self, motion: Motion) -> float:
        """What it costs to be where a motion is."""
        squares = ((motion.positions - self.motion.positions) ** 2).sum(axis=1)  # [M]
        return float(self.weight * self.slack**2 * np.log1p(squares / self.slack**2).sum())


NO_GOALS = Goals(np.zeros((0, 3)), np.zeros(0))


@dataclass(frozen=True)
class Level:
    """A graph, evenly spread samples of its surface, and the relative stiffness of its edges."""

    graph: Graph
    skin: Skin
    rigidity: Floats  # [E], mean 1
    yielding: float  # length of an edge's residual from which it gives way: bends gather in few places
    backend: Backend = NUMBA

    @cached_property
    def surface(self) -> Surface:
        skin, graph = self.skin, self.graph
        return Surface(
            skin.points, skin.normals, skin.nodes, skin.weights, graph.rest, graph.edges, self.rigidity,
            self.yielding, graph.structure,
        )  # fmt: skip

    def seen(self, cloud: Cloud, motion: Motion, complete: bool) -> Flags:
        """Which samples [S] must have points of a cloud near them."""
        if complete:
            return np.ones(len(self.skin.points), dtype=bool)
        moved = self.graph.move(self.skin, motion)
        return visible(moved.points, moved.normals, cloud.camera)

    @cached_property
    def loaded(self) -> Any:
        """The surface as the backend takes it."""
        return self.backend.load(self.surface)


def fit(
    level: Level,
    cloud: Cloud,
    motion: Motion,
    stages: Sequence[Stage],
    complete: bool,
    goals: Goals = NO_GOALS,
    prior: Prior | None = None,
) -> Motion:
    """Improve a motion until the surface lies on the cloud, through stages from stiff to soft.

    `complete` is whether the cloud covers the whole surface.
    """
    held = Prior(motion, 0.0, 1.0) if prior is None else prior
    for stage in cancelable(suited(stage, cloud) for stage in stages):
        seen = level.seen(cloud, motion, complete or not stage.reach)  # without a reach none looks for points
        pull = Pull(
            float(stage.stiffness), stage.scale, stage.reach, stage.rounds, seen, *goals,
            held.motion.positions, held.weight, held.slack,
        )  # fmt: skip
        motion = level.backend.descend(level.loaded, cloud, pull, motion)
    return motion


def suited(stage: Stage, cloud: Cloud) -> Stage:
    """A stage for the sampling of a cloud: few points are far apart, and say less of each node."""
    if not stage.reach:
        return stage
    wide = sparseness(cloud)
    stiff = float(np.clip(POINTS / len(cloud.points), 0.5, 8.0))
    return stage._replace(stiffness=stage.stiffness * stiff, reach=stage.reach * wide)


def sparseness(cloud: Cloud) -> float:
    """How much further apart points are than those of the clouds that stages are meant for, 1 or more."""
    return max(1.0, cloud.spacing / SPACING)
