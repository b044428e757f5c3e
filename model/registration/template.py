"""The surface that is tracked, with a deformation graph on it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.compiled import Floats, Ints
from model.registration.clouds import Cloud, shares, subset
from model.registration.fitting import Level
from model.registration.graph import Motion, build_graph, vertex_normals
from model.registration.pull import offsets

NODES = 200
SAMPLES = 2500
FEW = 400  # vertices that stand for the surface in transport
YIELDING = 0.03  # in units of the distance between nodes


@dataclass(frozen=True)
class Template:
    """Vertices [V, 3] and faces [F, 3] at rest; samples and nodes are vertices that are evenly spread."""

    vertices: Floats
    faces: Ints
    level: Level
    samples: Ints  # [S], vertices that are compared with clouds
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
    return Template(vertices, faces, level, order, shares(vertices, vertices[order[:FEW]]))


def refined(template: Template, clouds: Sequence[Cloud], motions: Sequence[Motion], reach: float) -> Template:
    """The template with the points of all frames on its surface; its nodes and weights stay.

    `reach` is how far off the surface points may be to count.
    """
    moved, points = [template.move(m) for m in motions], [c.points for c in clouds]
    vertices = template.vertices + offsets(template.vertices, template.faces, moved, points, reach)
    graph = template.level.graph
    skin = replace(graph.skin, points=vertices, normals=vertex_normals(vertices, template.faces))
    level = replace(template.level, graph=replace(graph, skin=skin), skin=skin[template.samples])
    return replace(template, vertices=vertices, level=level)
