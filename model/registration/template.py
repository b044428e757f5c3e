"""The surface that is tracked, with a deformation graph on it."""

from dataclasses import dataclass

import numpy as np

from model.registration.clouds import shares, subset
from model.registration.fitting import Level
from model.registration.graph import Motion, build_graph
from model.registration.kernels import Floats, Ints

NODES = 200
SAMPLES = 2500  # vertices that are compared with clouds
FEW = 400  # vertices that stand for the surface in transport
YIELDING = 0.03  # in units of the distance between nodes


@dataclass(frozen=True)
class Template:
    """Vertices [V, 3] and faces [F, 3] at rest; samples and nodes are vertices that are evenly spread."""

    vertices: Floats
    faces: Ints
    level: Level
    masses: Floats  # [C], share of the surface that each of the first samples stands for

    def move(self, motion: Motion) -> Floats:
        """The vertices [V, 3] under a motion."""
        return self.level.graph.move(self.level.graph.skin, motion).points


def make_template(vertices: Floats, faces: Ints) -> Template:
    """Put a graph and samples on a mesh of vertices [V, 3] and faces [F, 3]."""
    order = subset(vertices, SAMPLES)
    graph = build_graph(vertices, faces, order[:NODES])
    apart = np.linalg.norm(graph.rest[graph.edges[:, 0]] - graph.rest[graph.edges[:, 1]], axis=1).mean()
    level = Level(graph, graph.skin[order], np.ones(len(graph.edges)), YIELDING * apart)
    return Template(vertices, faces, level, shares(vertices, vertices[order[:FEW]]))
