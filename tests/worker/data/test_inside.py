"""The inside test compared with brute force: solid angles, which know nothing of rays."""

from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from worker.bodies import ACTIONS, animate, load_rig
from worker.data.inside import inside, winding_numbers

RIG = load_rig()


def solid_angle_winding(vertices: NDArray[Any], faces: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    """Winding number [P] by the sum of the solid angles of all faces, rounded to whole numbers."""
    total = np.zeros(len(points))
    for rows in np.array_split(np.arange(len(points)), max(1, len(points) // 50)):
        a, b, c = np.moveaxis(vertices[faces][None] - points[rows, None, None], 2, 0)  # [p, F, 3] each
        la, lb, lc = (np.linalg.norm(x, axis=-1) for x in (a, b, c))
        below = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
        total[rows] = 2 * np.arctan2((a * np.cross(b, c)).sum(-1), below).sum(-1) / (4 * np.pi)
    assert np.abs(total - total.round()).max() < 1e-6, "no point lies on the surface"
    return total.round().astype(int)


def points_around(
    vertices: NDArray[Any], faces: NDArray[Any], count: int, rng: np.random.Generator
) -> NDArray[Any]:
    """Half of them anywhere in the box, half near the surface."""
    low, high = vertices.min(0) - 0.05, vertices.max(0) + 0.05
    chosen = vertices[faces[rng.integers(len(faces), size=count // 2)]].mean(1)
    near = chosen + rng.normal(0, 0.02 * (high - low).max(), chosen.shape)
    return np.concatenate([near, rng.uniform(low, high, (count - len(near), 3))])


@pytest.mark.parametrize("action", ["punching", "chicken_wings", "one_leg_jump"])
def test_bodies_agree_with_solid_angles(action: str) -> None:
    rng = np.random.default_rng(list(ACTIONS).index(action))
    vertices = animate(RIG, RIG.draw_body(rng), action, rng, frames=9)[8]
    points = points_around(vertices, RIG.faces, 600, rng)
    expected = solid_angle_winding(vertices, RIG.faces, points)
    assert 100 < (expected == 1).sum() < 500
    np.testing.assert_array_equal(winding_numbers(vertices, RIG.faces, points), expected)


def test_overlap_counts_twice_and_is_inside_and_holes_are_outside() -> None:
    outer, other = trimesh.creation.icosphere(3, radius=1.0), trimesh.creation.icosphere(3, radius=1.0)
    hole = trimesh.creation.icosphere(2, radius=0.4)
    hole.invert()
    other.apply_translation([1.2, 0.1, 0])
    mesh = outer + other + hole
    rng = np.random.default_rng(0)
    points = rng.uniform([-1.2, -1.2, -1.2], [2.4, 1.3, 1.2], (2000, 3))
    expected = solid_angle_winding(mesh.vertices, mesh.faces, points)
    assert {0, 1, 2} == set(expected.tolist())
    np.testing.assert_array_equal(winding_numbers(mesh.vertices, mesh.faces, points), expected)
    found = inside(mesh.vertices, mesh.faces, np.array([[0, 0, 0], [0.6, 0, 0], [-0.6, 0, 0], [5, 0, 0]]))
    assert found.tolist() == [False, True, True, False], "in the hole, in both, in one, in none"


@pytest.mark.parametrize("turn", range(3))
def test_rays_through_edges_and_corners_are_counted_once(turn: int) -> None:
    """A grid of points right under the corners, edges and diagonals of a box, whichever way the rays go."""
    box = trimesh.creation.box(extents=np.roll([4.0, 3.0, 2.0], turn)).subdivide().subdivide()
    axes = [np.unique(box.vertices[:, axis]) for axis in range(3)]
    axes = [np.concatenate([ticks, (ticks[1:] + ticks[:-1]) / 2]) for ticks in axes]
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)
    half = box.vertices.max(0)
    on_surface = (np.abs(points) == half).any(axis=1)
    within = (np.abs(points) < half).all(axis=1)
    found = winding_numbers(box.vertices, box.faces, points)
    assert within.sum() > 300
    np.testing.assert_array_equal(found[~on_surface], within[~on_surface])


def test_quantised_body_and_points_meet_ties() -> None:
    """Vertices and points on one coarse lattice: nearly every ray runs through edges."""
    rng = np.random.default_rng(3)
    ball = trimesh.creation.icosphere(4)
    vertices = (ball.vertices * 64).round() / 64
    points = (rng.uniform(-1.1, 1.1, (3000, 3)) * 64).round() / 64
    distance = np.linalg.norm(points, axis=1)
    clear = np.abs(distance - 1) > 0.04
    found = winding_numbers(vertices, ball.faces, points)
    np.testing.assert_array_equal(found[clear], distance[clear] < 1)


def test_faces_turned_inwards_count_negative_and_no_points_are_fine() -> None:
    ball = trimesh.creation.icosphere(2)
    assert winding_numbers(ball.vertices, ball.faces[:, ::-1], [[0.1, 0.2, 0.3]]).tolist() == [-1]
    assert winding_numbers(ball.vertices, ball.faces, np.zeros((0, 3))).shape == (0,)


def test_batches_of_pairs_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    vertices = RIG.mean.vertices
    points = points_around(vertices, RIG.faces, 3000, rng)
    whole = winding_numbers(vertices, RIG.faces, points)
    monkeypatch.setattr("worker.data.inside.PAIRS", 50)
    np.testing.assert_array_equal(winding_numbers(vertices, RIG.faces, points), whole)
