"""Compiled normal equations against the plain ones."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.spatial import cKDTree

from model.cells import nearest_in_cells, sort_into_cells
from model.compiled import Floats
from model.registration import cholesky, kernels, reference
from model.registration.clouds import nearest
from model.registration.descent import Pull, descend
from model.registration.fitting import Level
from model.registration.graph import Graph, Motion, Moved, build_graph, nearest_nodes
from model.registration.rotations import nearest_rotations, polar_rotations
from tests.model.registration.solids import solid


@pytest.fixture(scope="module")
def graph() -> Graph:
    vertices, faces = solid(2)
    return build_graph(vertices, faces, kernels.farthest_points(vertices, 20, 0))


@pytest.fixture(scope="module")
def motion(graph: Graph) -> Motion:
    rng = np.random.default_rng(0)
    return Motion(
        reference.rotation_matrices(rng.normal(0, 0.3, graph.rest.shape)),
        graph.rest + rng.normal(0, 0.05, graph.rest.shape),
    )


@pytest.fixture(scope="module")
def moved(graph: Graph, motion: Motion) -> Moved:
    return graph.move(graph.skin, motion)


class Equations(NamedTuple):
    blocks: Floats
    right: Floats


def stiff(graph: Graph, motion: Motion, stiffness: Floats) -> Equations:
    """Equations of the edges alone."""
    equations = Equations(np.zeros((len(graph.structure.columns), 6, 8)), np.zeros((len(graph.rest), 6)))
    residuals, lookup = graph.stretch(motion), graph.structure.lookup
    kernels.add_edges(*equations, lookup, graph.edges, graph.rest, motion.rotations, residuals, stiffness)
    return equations


def pulled(graph: Graph, motion: Motion, metric: Floats, force: Floats) -> Equations:
    """Equations of pulls on the vertices alone."""
    equations = stiff(graph, motion, np.zeros(len(graph.edges)))
    skin, arms = graph.skin, graph.move(graph.skin, motion).arms
    kernels.add_samples(*equations, graph.structure.lookup, skin.nodes, skin.weights, arms, metric, force)
    return equations


def test_the_order_and_structure_of_a_factor_are_those_of_the_reference() -> None:
    rng = np.random.default_rng(0)
    for count, share in ((1, 0.0), (12, 0.2), (60, 0.05), (60, 0.5)):
        linked = rng.random((count, count)) < share
        linked |= linked.T
        order = cholesky.elimination_order(linked)
        np.testing.assert_array_equal(order, reference.elimination_order(linked))
        ordered = np.ascontiguousarray(linked[np.ix_(order, order)])
        for found, expected in zip(cholesky.structure(ordered), reference.structure(ordered), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_edges_agree_with_the_reference(graph: Graph, motion: Motion) -> None:
    stiffness = np.random.default_rng(1).random(len(graph.edges))
    equations = stiff(graph, motion, stiffness)
    matrix, gradient = reference.edges(graph.edges, graph.rest, *motion, stiffness)
    np.testing.assert_allclose(reference.dense(equations.blocks, graph.structure), matrix, atol=1e-12)
    np.testing.assert_allclose(equations.right.ravel(), gradient, atol=1e-12)


def test_pulled_samples_agree_with_the_reference(graph: Graph, motion: Motion, moved: Moved) -> None:
    rng = np.random.default_rng(2)
    factor, residuals = rng.normal(size=(len(moved.points), 3, 3)), rng.normal(size=moved.points.shape)
    metric = factor @ factor.transpose(0, 2, 1)
    metric[:10] = 0.0
    force = np.einsum("sxy,sy->sx", metric, residuals)
    equations = pulled(graph, motion, metric, force)
    skin = graph.skin
    matrix, gradient = reference.samples(len(graph.rest), skin.nodes, skin.weights, moved.arms, metric, force)
    np.testing.assert_allclose(reference.dense(equations.blocks, graph.structure), matrix, atol=1e-10)
    np.testing.assert_allclose(equations.right.ravel(), gradient, atol=1e-10)


def test_points_pull_as_in_the_reference(moved: Moved) -> None:
    count, scale, along = len(moved.points), 0.01, 0.05
    points = moved.points[::3] + np.random.default_rng(5).normal(0, 0.03, moved.points[::3].shape)
    distance, found = nearest(cKDTree(moved.points), points)
    reach = float(np.median(distance))
    gap, normal = moved.points[found] - points, moved.normals[found]
    across = (gap * normal).sum(1)
    plane = (distance < reach) / np.maximum(1, np.abs(across) / scale) / len(points)
    expected = reference.pulls(count, found, gap, normal, plane, along * plane)
    metric, force = np.zeros((count, 3, 3)), np.zeros((count, 3))
    kernels.pull_to_points(metric, force, *moved[:2], points, found, distance, reach, scale, along)
    np.testing.assert_allclose(metric, expected[0], atol=1e-15)
    np.testing.assert_allclose(force, expected[1], atol=1e-15)


def test_samples_are_pulled_as_in_the_reference(moved: Moved) -> None:
    count, few, scale = len(moved.points), 50, 0.01
    points = moved.points + np.random.default_rng(6).normal(0, 0.03, moved.points.shape)
    distance, found = nearest(cKDTree(points), moved.points[:few], 3)
    reach = float(np.median(distance[:, 0]))
    gap, normal = moved.points[:few] - points[found].mean(1), moved.normals[:few]
    across = (gap * normal).sum(1)
    plane = 0.5 * (distance[:, 0] < reach) / np.maximum(1, np.abs(across) / scale) / few
    expected = reference.pulls(count, np.arange(few), gap, normal, plane, np.zeros(few))
    metric, force = np.zeros((count, 3, 3)), np.zeros((count, 3))
    kernels.pull_samples(metric, force, *moved[:2], points, found, distance, reach, scale, 0.5)
    np.testing.assert_allclose(metric, expected[0], atol=1e-15)
    np.testing.assert_allclose(force, expected[1], atol=1e-15)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_the_equations_are_solved(graph: Graph, motion: Motion, dtype: type, tolerance: float) -> None:
    """By blocks as by a dense factorization."""
    equations = stiff(graph, motion, np.ones(len(graph.edges)))
    corners, unknowns = graph.structure.starts[:-1, None], np.arange(6)
    equations.blocks[corners, unknowns, unknowns] += 1.0
    right = np.random.default_rng(7).normal(size=equations.right.shape)
    expected = np.linalg.solve(reference.dense(equations.blocks, graph.structure), right.ravel())
    blocks: Any = equations.blocks.astype(dtype)
    assert cholesky.factorize(blocks, graph.structure, right)
    found = cholesky.substitute(blocks, graph.structure)
    np.testing.assert_allclose(found.ravel(), expected, atol=tolerance)


def test_equations_that_single_precision_cannot_solve(graph: Graph) -> None:
    blocks = np.zeros((len(graph.structure.columns), 6, 8))
    corners, unknowns = graph.structure.starts[:-1, None], np.arange(6)
    blocks[corners, unknowns, unknowns] = 1.0
    blocks[0, :6, :6] = np.triu(np.ones((6, 6))) + 1e-9 * np.eye(6)
    right = np.ones((len(graph.rest), 6))
    expected = np.linalg.solve(reference.dense(blocks, graph.structure), right.ravel())
    assert not cholesky.factorize(blocks.astype(np.float32), graph.structure, right)
    found = cholesky.solve(blocks.copy(), graph.structure, right)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        cholesky.solve(-blocks, graph.structure, right)


def test_the_gradient_is_that_of_the_energy(graph: Graph, motion: Motion) -> None:
    equations = stiff(graph, motion, np.ones(len(graph.edges)))
    rng = np.random.default_rng(3)
    x = rng.normal(size=(len(graph.rest), 6))

    def energy(share: float) -> float:
        turned = kernels.turned(motion.rotations, share * x[:, :3])
        return float((graph.stretch(Motion(turned, motion.positions + share * x[:, 3:])) ** 2).sum())

    slope = -2 * equations.right.ravel() @ x.ravel()
    assert (energy(1e-5) - energy(-1e-5)) / 2e-5 == pytest.approx(slope, rel=1e-6)


KINDS = ["goals", "points", "points of one side", "points of a view", "points and what is expected"]


@pytest.mark.parametrize("kind", KINDS)
def test_descends_as_the_reference(graph: Graph, motion: Motion, moved: Moved, kind: str) -> None:
    rng = np.random.default_rng(10)
    skin = graph.skin[np.arange(0, len(graph.skin.points), 2)]
    surface = Level(graph, skin, rng.uniform(0.5, 1.5, len(graph.edges)), 0.05).surface
    points = moved.points + rng.normal(0, 0.02, moved.points.shape)
    few, away = 40 if kind == "goals" else 0, 0.0 if kind == "goals" else 0.3
    goals, weights = points[: 2 * few : 2], rng.uniform(0.01, 0.03, few)
    expected, hold = motion.positions, 0.1 if kind == "points and what is expected" else 0.0
    seen = np.full(len(skin.points), kind != "points of one side")
    if kind == "points of a view":
        seen &= rng.random(len(seen)) < 0.5
    pull = Pull(0.3, 0.02, away, 5, seen, goals, weights, expected, hold, 0.1)
    found = descend(surface, points, sort_into_cells(points), pull, *graph.still())
    wanted = reference.descend(surface, points, pull, graph.still())
    np.testing.assert_allclose(found[1], wanted.positions, atol=2e-5)
    np.testing.assert_allclose(found[0], wanted.rotations, atol=2e-4)
    assert np.abs(found[1] - graph.rest).max() > 0.05


def test_nodes_that_hardly_anything_holds(graph: Graph, motion: Motion, moved: Moved) -> None:
    """Single precision does not tell them from free ones: the equations are assembled again in double."""
    surface = Level(graph, graph.skin[np.arange(12)], np.ones(len(graph.edges)), 0.05).surface
    points, nothing, seen = moved.points[:12].copy(), np.zeros((0, 3)), np.ones(12, dtype=bool)
    pull = Pull(1e-6, 0.02, 0.5, 1, seen, nothing, nothing[:, 0], motion.positions, 0.0, 0.1)
    found = descend(surface, points, sort_into_cells(points), pull, *graph.still())
    wanted = reference.descend(surface, points, pull, graph.still())
    np.testing.assert_allclose(found[1], wanted.positions, atol=1e-3)


def test_rotations_are_turned(motion: Motion) -> None:
    vectors = np.random.default_rng(8).normal(0, 0.5, motion.positions.shape)
    vectors[0] = 0.0
    expected = reference.rotation_matrices(vectors) @ motion.rotations
    np.testing.assert_allclose(kernels.turned(motion.rotations, vectors), expected, atol=1e-12)


def test_the_nearest_rotations_are_those_of_singular_values() -> None:
    rng = np.random.default_rng(11)
    matrices = rng.normal(size=(400, 3, 3))
    matrices[100:200] *= [1.0, 1.0, 0.01]
    matrices[200:210] = 0.0
    matrices[210:220, 2] = 0.0
    matrices[220:230] *= 1e-9
    u, _, v = np.linalg.svd(matrices)
    u[..., -1] *= np.sign(np.linalg.det(u @ v))[:, None]
    np.testing.assert_allclose(nearest_rotations(matrices), u @ v, atol=1e-9)
    np.testing.assert_allclose(nearest_rotations(matrices[0]), (u @ v)[0], atol=1e-12)
    found = polar_rotations(matrices)[1]
    assert 0.4 < found.mean() < 0.6
    assert not (found & (np.linalg.det(matrices) <= 0)).any()


@pytest.mark.parametrize("reach", [np.inf, 0.3])
@pytest.mark.parametrize("count", [1, 3])
def test_cells_find_what_a_tree_finds(count: int, reach: float) -> None:
    rng = np.random.default_rng(9)
    points = rng.normal(size=(500, 3)) * [1.0, 0.2, 0.01]
    queries = np.concatenate([rng.normal(size=(300, 3)), points[:50], 50.0 + points[:5]])
    distance, found = nearest_in_cells(sort_into_cells(points), queries, count, reach)
    expected, index = nearest(cKDTree(points), queries, count)
    expected, index = expected.reshape(-1, count), index.reshape(-1, count)
    near = expected[:, 0] < reach
    np.testing.assert_allclose(distance[near], expected[near], atol=1e-12)
    np.testing.assert_array_equal(found[near], index[near])
    assert np.isinf(distance[~near]).all()


@pytest.mark.parametrize("nodes", [3, 25])
def test_the_nodes_next_to_a_vertex_are_those_of_the_reference(nodes: int) -> None:
    """On a surface of two parts, of which the smaller one has few nodes, and one vertex on no face."""
    vertices, faces = solid(2)
    small, few = solid(1)
    vertices = np.concatenate([vertices, 0.4 * small + [3.0, 0.0, 0.0], [[0.0, 4.0, 0.0]]])
    vertices = vertices * (1 + np.random.default_rng(12).uniform(0, 0.01, vertices.shape))  # no two alike
    faces = np.concatenate([faces, few + faces.max() + 1])
    chosen = kernels.farthest_points(vertices, nodes, 0)
    distance, nearest = nearest_nodes(vertices, faces, chosen)
    first, second, third = vertices[faces.T]
    area = np.linalg.norm(np.cross(second - first, third - first), axis=1).sum() / 2
    limit = 4 * np.sqrt(area / nodes)
    expected = reference.nearest_nodes(vertices, faces, chosen, distance.shape[1], limit)
    np.testing.assert_array_equal(nearest[:, :5], expected[1][:, :5])
    np.testing.assert_allclose(distance[:, :5], expected[0][:, :5])
    np.testing.assert_array_equal(nearest[chosen], expected[1][chosen])
    np.testing.assert_allclose(distance[chosen], expected[0][chosen])


def test_farthest_points_are_far_apart() -> None:
    points = np.random.default_rng(4).random((500, 3))
    chosen = kernels.farthest_points(points, 10, 7)
    gaps = np.linalg.norm(points[chosen][:, None] - points[chosen][None], axis=2)[np.triu_indices(10, 1)]
    assert chosen[0] == 7
    assert gaps.min() > 0.4
    expected = [7]
    for _ in range(9):
        to_chosen = np.linalg.norm(points[:, None] - points[expected], axis=2).min(axis=1)
        expected.append(int(to_chosen.argmax()))
    np.testing.assert_array_equal(chosen, expected)
    np.testing.assert_array_equal(np.sort(kernels.farthest_points(points, 500, 3)), np.arange(500))
