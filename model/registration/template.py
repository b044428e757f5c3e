"""The surface that is tracked, with a coarse and a fine graph on it."""

from dataclasses import dataclass

import numpy as np

from model.registration.clouds import shares, subset
from model.registration.fitting import Level
from model.registration.graph import Graph, Motion, build_graph
from model.registration.kernels import Floats, Ints

FINE, COARSE = 200, 50  # nodes
SAMPLES = 2500  # vertices that are compared with clouds
FEW = 400  # vertices that stand for the surface in transport
YIELDING = 0.03  # in units of the distance between nodes


@dataclass(frozen=True)
class Template:
    """Vertices [V, 3] and faces [F, 3] at rest; samples and nodes are vertices that are evenly spread."""

    vertices: Floats
    faces: Ints
    coarse: Level
    fine: Level
    masses: Floats  # [C], share of the surface that each of the first samples stands for

    def move(self, motion: Motion) -> Floats:
        """The vertices [V, 3] under a motion of the fine graph."""
        return self.fine.graph.move(self.fine.graph.skin, motion).points

    def restrict(self, motion: Motion) -> Motion:
        """The motion of the coarse nodes, which are fine nodes too."""
        fine, coarse = self.fine.graph.vertices, self.coarse.graph.vertices
        sort = np.argsort(fine)
        same = sort[np.searchsorted(fine[sort], coarse)]
        return Motion(
            np.ascontiguousarray(motion.rotations[same]), np.ascontiguousarray(motion.positions[same])
        )


def make_template(vertices: Floats, faces: Ints) -> Template:
    """Put graphs and samples on a mesh of vertices [V, 3] and faces [F, 3]."""
    order = subset(vertices, SAMPLES)
    coarse, fine = (_level(build_graph(vertices, faces, order[:nodes]), order) for nodes in (COARSE, FINE))
    return Template(vertices, faces, coarse, fine, shares(vertices, vertices[order[:FEW]]))


def _level(graph: Graph, order: Ints) -> Level:
    apart = np.linalg.norm(graph.rest[graph.edges[:, 0]] - graph.rest[graph.edges[:, 1]], axis=1).mean()
    return Level(graph, graph.skin[order], np.ones(len(graph.edges)), YIELDING * apart)
