"""Compiled normal equations against the plain ones."""

import numpy as np
import pytest

from model.registration import reference
from model.registration.graph import Graph, Motion, build_graph, rotation_matrices
from model.registration.kernels import add_observations, farthest_points
from tests.model.registration.solids import solid


@pytest.fixture(scope="module")
def graph() -> Graph:
    vertices, faces = solid(2)
    return build_graph(vertices, faces, farthest_points(vertices, 20, 0))


@pytest.fixture(scope="module")
def motion(graph: Graph) -> Motion:
    rng = np.random.default_rng(0)
    return Motion(
        rotation_matrices(rng.normal(0, 0.3, graph.rest.shape)),
        graph.rest + rng.normal(0, 0.05, graph.rest.shape),
    )


def test_edges_agree_with_the_reference(graph: Graph, motion: Motion) -> None:
    stiffness = np.random.default_rng(1).random(len(graph.edges))
    band, right = graph.equations(motion, stiffness)
    matrix, gradient = reference.edges(graph.edges, graph.rest, *motion, stiffness)
    np.testing.assert_allclose(reference.dense(band), matrix, atol=1e-12)
    np.testing.assert_allclose(right, gradient, atol=1e-12)


def test_observations_agree_with_the_reference(graph: Graph, motion: Motion) -> None:
    rng = np.random.default_rng(2)
    chosen = rng.integers(len(graph.skin.points), size=60)
    residuals, directions = rng.normal(size=(2, 60, 3))
    plane, point = rng.random((2, 60))
    plane[:10] = point[5:15] = 0.0
    arms = graph.move(graph.skin, motion).arms
    band, right = graph.equations(motion, np.zeros(len(graph.edges)))
    data = (graph.skin.nodes, graph.skin.weights, arms, chosen, residuals, directions, plane, point)
    add_observations(band, right, *data)
    matrix, gradient = reference.observations(len(graph.rest), *data)
    np.testing.assert_allclose(reference.dense(band), matrix, atol=1e-12)
    np.testing.assert_allclose(right, gradient, atol=1e-12)


def test_the_gradient_is_that_of_the_energy(graph: Graph, motion: Motion) -> None:
    stiffness = np.ones(len(graph.edges))
    _, right = graph.equations(motion, stiffness)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(len(graph.rest), 6))

    def energy(share: float) -> float:
        turned = rotation_matrices(share * x[:, :3]) @ motion.rotations
        return float((graph.stretch(Motion(turned, motion.positions + share * x[:, 3:])) ** 2).sum())

    assert (energy(1e-5) - energy(-1e-5)) / 2e-5 == pytest.approx(-2 * right @ x.ravel(), rel=1e-6)


def test_farthest_points_are_far_apart() -> None:
    points = np.random.default_rng(4).random((500, 3))
    chosen = farthest_points(points, 10, 7)
    gaps = np.linalg.norm(points[chosen][:, None] - points[chosen][None], axis=2)[np.triu_indices(10, 1)]
    assert chosen[0] == 7
    assert gaps.min() > 0.4
