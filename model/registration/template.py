"""The surface that is tracked, with a deformation graph on it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.canceling import cancelable, cancellation_point
from model.cells import nearest_in_cells, sort_into_cells
from model.compiled import Floats, Ints
from model.registration.backends import NUMBA, Backend
from model.registration.clouds import Cloud, shares, subset
from model.registration.fitting import Level
from model.registration.graph import Graph, Motion, build_graph, vertex_normals
from model.registration.parallel import side_by_side
from model.registration.pull import offsets
from model.registration.rotations import nearest_rotations
from model.registration.separating import looked_at, separate

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
        cancellation_point()
        return self.level.graph.move(self.level.graph.skin, motion).points

    def faced(self, cloud: Cloud) -> Floats:
        """The mean normal [3] of the surface at rest where the points of its own frame are."""
        near = nearest_in_cells(sort_into_cells(self.vertices), cloud.points, 1, np.inf)[1][:, 0]
        mean: Floats = self.level.graph.skin.normals[near].mean(axis=0)
        return mean


def make_template(
    vertices: Floats, faces: Ints, backend: Backend = NUMBA, nodes: int = NODES, samples: int = SAMPLES
) -> Template:
    """Put a graph of `nodes` and `samples` on a mesh of vertices [V, 3] and faces [F, 3]."""
    order = subset(vertices, samples)
    cancellation_point()
    graph = build_graph(vertices, faces, order[:nodes])
    apart = np.linalg.norm(graph.rest[graph.edges[:, 0]] - graph.rest[graph.edges[:, 1]], axis=1).mean()
    level = Level(graph, graph.skin[order], np.ones(len(graph.edges)), YIELDING * apart, backend)
    return Template(vertices, faces, level, order, shares(vertices, vertices[order[:FEW]]))


def refined(template: Template, clouds: Sequence[Cloud], motions: Sequence[Motion], reach: float) -> Template:
    """The template with the points of all frames on its surface; its nodes and weights stay.

    `reach` is how far off the surface points may be to count.
    """
    moved, points = side_by_side(template.move, motions), [c.points for c in clouds]
    vertices = template.vertices + offsets(
        template.vertices, template.faces, moved, points, reach, nearest=template.level.backend.nearest
    )
    graph = template.level.graph
    skin = replace(graph.skin, points=vertices, normals=vertex_normals(vertices, template.faces))
    level = replace(template.level, graph=replace(graph, skin=skin), skin=skin[template.samples])
    return replace(template, vertices=vertices, level=level)


def taken_apart(
    template: Template, clouds: Sequence[Cloud], motions: Sequence[Motion]
) -> tuple[Template, list[Motion]] | None:
    """The template without what its motions tear, and the same motions of its nodes; None if it is whole."""
    some = looked_at(len(motions))
    moved, seen = side_by_side(template.move, [motions[t] for t in some]), [clouds[t] for t in some]
    apart = separate(template.vertices, template.faces, moved, seen)
    if apart is None:
        return None
    old = template.level
    parts = make_template(*apart, old.backend, len(old.graph.rest), len(template.samples))
    rest = parts.level.graph.rest
    at = nearest_in_cells(sort_into_cells(template.vertices), rest, 1, np.inf)[1][:, 0]
    return parts, [_carried(template.level.graph, at, motion, rest) for motion in cancelable(motions)]


def _carried(graph: Graph, at: Ints, motion: Motion, rest: Floats) -> Motion:
    """Nodes at `rest` [M, 3] that move with the vertices `at` [M] of a graph."""
    skin = graph.skin[at]
    blended = np.einsum("mk,mkij->mij", skin.weights, motion.rotations[skin.nodes])
    turns = np.ascontiguousarray(nearest_rotations(blended))  # [M, 3, 3]
    offset = (turns @ (rest - skin.points)[..., None])[..., 0]
    return Motion(turns, graph.move(skin, motion).points + offset)
