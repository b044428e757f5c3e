from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from model.meshes.fit import MAX_POINTS, fit, surface_distances


def brute_force(points: NDArray[Any], vertices: NDArray[Any], faces: NDArray[Any]) -> NDArray[Any]:
    """The reference implementation: every point against every triangle, one at a time.

    The nearest point is the foot of the perpendicular, or on an edge where that falls outside.
    """
    nearest = []
    for point in points:
        best = np.inf
        for triangle in vertices[faces]:
            for start, end in zip(triangle, np.roll(triangle, -1, axis=0), strict=True):
                along = end - start
                share = np.clip((point - start) @ along / max(along @ along, 1e-300), 0, 1)
                best = min(best, float(np.linalg.norm(point - start - share * along)))
            edges = (triangle[1:] - triangle[0]).T  # [3, 2]
            weights, _, rank, _ = np.linalg.lstsq(edges, point - triangle[0])
            if rank == 2 and weights.min() >= 0 and weights.sum() <= 1:
                best = min(best, float(np.linalg.norm(point - triangle[0] - edges @ weights)))
        nearest.append(best)
    return np.array(nearest)


def soup(rng: np.random.Generator, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Triangles of very different sizes, some of them degenerate."""
    sizes = np.exp(rng.uniform(-5, 0.5, (count, 1, 1)))
    triangles = rng.uniform(-1, 1, (count, 1, 3)) + sizes * rng.normal(size=(count, 3, 3))
    triangles[0, 2] = triangles[0, 1]  # a segment
    triangles[1, :] = triangles[1, 0]  # a point
    triangles[2, 2] = (triangles[2, 0] + triangles[2, 1]) / 2
    return triangles.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("seed", range(3))
def test_distances_equal_brute_force(seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    vertices, faces = soup(rng, 60)
    points = np.concatenate([rng.uniform(-2, 2, (40, 3)), vertices[:5], vertices[faces].mean(axis=1)[:5]])
    found = surface_distances(points + offset, vertices + offset, faces)
    np.testing.assert_allclose(found, brute_force(points, vertices, faces), atol=1e-9 if offset else 1e-12)


def test_mean_and_percentile_on_a_known_surface() -> None:
    """Points above a square sheet made of 2 large triangles: the distance is the height."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    heights = np.linspace(0, 1, 101)
    points = np.stack([np.full(101, 0.3), np.full(101, 0.6), heights], axis=1)
    assert fit(points, vertices, faces) == pytest.approx((0.5, 0.95))


def test_dense_clouds_are_sampled_the_same_way_every_time() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=4)
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(20 * MAX_POINTS, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    heights = np.abs(rng.normal(size=(len(directions), 1))) * 0.1
    points = directions * (1 + heights)
    result = fit(points, sphere.vertices, sphere.faces)
    assert result == fit(points, sphere.vertices, sphere.faces)
    assert result == pytest.approx((heights.mean(), np.percentile(heights, 95)), rel=0.06)


def test_a_mesh_crushed_to_points_has_a_distance_too() -> None:
    vertices, faces = np.zeros((6, 3)), np.array([[0, 1, 2], [3, 4, 5]])
    vertices[3:, 0] = 1
    points = np.array([[0.25, 0, 0], [0.5, 0, 2]])
    np.testing.assert_allclose(surface_distances(points, vertices, faces), [0.25, np.sqrt(4.25)])


def test_vertices_that_no_face_uses_do_not_count() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], float)
    assert fit(np.array([[5.0, 5.0, 5.0]]), vertices, np.array([[0, 1, 2]]))[0] > 6
