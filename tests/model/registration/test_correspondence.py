"""Corresponding points: recognized, freed of noise, and carrying a surface, on solids known by a formula."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from model.compiled import Floats, Ints
from model.reconstruction.preparation import prepare
from model.registration.correspondence import filter_paths, find_correspondence, often_seen
from model.registration.corresponding import track_corresponding
from model.registration.filling import fill
from model.registration.interpolation import carry_along
from model.registration.stillness import is_still
from tests.model.registration.solids import bend, draw, solid

PHASES = np.linspace(0, 1, 9)


def paths(count: int, noise: float = 0.0) -> tuple[Floats, Floats]:
    """Particles of the bending solid [T, N, 3]: with noise, and as they are."""
    rng = np.random.default_rng(3)
    rest = draw(*solid(), count, rng)
    exact = np.stack([bend(rest, phase) for phase in PHASES])
    return exact + rng.normal(0, noise, exact.shape), exact


@pytest.mark.parametrize("count", [32, 300, 5000])
def test_rows_that_are_particles_are_recognized(count: int) -> None:
    found = find_correspondence(list(paths(count, 0.003)[0]))
    assert found.holds
    assert found.scatter < 0.02


@pytest.mark.parametrize("order", ["as drawn", "by height", "scan lines"])
def test_rows_of_clouds_sampled_anew_are_not(order: str) -> None:
    rng = np.random.default_rng(0)
    vertices, faces = solid()
    clouds = [draw(bend(vertices, phase), faces, 800, rng) for phase in PHASES]
    if order == "by height":
        clouds = [cloud[np.argsort(cloud[:, 1])] for cloud in clouds]
    if order == "scan lines":
        clouds = [cloud[np.lexsort((cloud[:, 0], (20 * cloud[:, 1]).round()))] for cloud in clouds]
    found = find_correspondence(clouds)
    assert not found.holds
    assert found.scatter > 0.08


@pytest.mark.parametrize("unit", [1.0, 1e-20, 1e20])
def test_things_far_apart_are_told_by_the_rows_within_them(unit: float) -> None:
    """Rows of each thing stay its own, as in files of several scans, but are drawn anew."""
    rng = np.random.default_rng(0)
    vertices, faces = solid()
    things = np.arange(4)[:, None, None] * [0.0, 20.0, 0.0]
    apart = [np.concatenate([draw(bend(vertices, p), faces, 150, rng) + t for t in things]) for p in PHASES]
    assert not find_correspondence([unit * cloud for cloud in apart]).holds
    particles = [np.concatenate([cloud + t for t in things]) for cloud in paths(150, 0.002)[0]]
    assert find_correspondence([unit * cloud for cloud in particles]).holds


@pytest.mark.parametrize("far", [2.0, 6.0])
def test_pixels_of_a_depth_camera_are_no_particles(far: float) -> None:
    """Images of the front of the bending solid, NaN where nothing is seen, turned and moved elsewhere."""
    rays = np.stack(np.meshgrid(*[np.linspace(-1, 1, 40) / far] * 2, [-1.0]), -1).reshape(-1, 3)
    rest = solid()[0]
    images = []
    for phase in PHASES:
        front = bend(rest, phase) - [0, 0, far]
        front = front[front[:, 2] > -far]
        distance, nearest = cKDTree(front[:, :2] / -front[:, 2:]).query(rays[:, :2])
        depth = np.where(distance < 0.05 / far, -front[nearest, 2], np.nan)
        images.append(rays * depth[:, None])
    turn = Rotation.from_rotvec([1.0, 2.0, 0.5]).as_matrix()
    points = np.stack(images) @ turn + [10.0, -20.0, 5.0]
    valid = np.asarray(np.isfinite(points).all(axis=2))
    assert not valid.all()
    found = find_correspondence(list(np.where(valid[..., None], points, 0)), valid)
    assert not found.holds
    assert found.pixels
    assert found.scatter < 0.05
    assert any("depth camera" in warning for warning in prepare(list(points), True).warnings)


@pytest.mark.parametrize("kind", ["goes far", "swells", "grows from its foot"])
def test_particles_that_move_along_lines_are_no_pixels(kind: str) -> None:
    rest = solid()[0]
    time = np.linspace(0, 1, 7)[:, None, None]
    if kind == "goes far":
        frames = rest + 300.0 * time
    else:
        frames = (rest - rest.min(axis=0) * [0, 0, kind != "swells"]) * (1 + time)
    found = find_correspondence(list(frames))
    assert found.holds
    assert not found.pixels


def test_frames_of_different_size_do_not_correspond() -> None:
    cloud = paths(100)[0]
    assert not find_correspondence([cloud[0], cloud[1, :-1]]).holds


def test_noise_goes_and_motion_stays() -> None:
    noisy, exact = paths(400, 0.004)
    filtered = filter_paths(noisy)
    assert filtered.noise == pytest.approx(0.004, rel=0.25)
    before, after = (np.linalg.norm(p - exact, axis=2).mean() for p in (noisy, filtered.points))
    assert after < 0.75 * before
    clean = filter_paths(exact)
    assert np.abs(clean.points - exact).max() < 1e-3


def test_two_frames_are_left_as_they_are_where_noise_cannot_be_told() -> None:
    noisy, exact = paths(300, 0.001)
    filtered = filter_paths(noisy[[0, -1]])
    assert np.linalg.norm(filtered.points - exact[[0, -1]], axis=2).mean() < 0.0018


def test_a_row_that_leaves_the_others_is_dropped_and_a_wild_point_filled_in() -> None:
    noisy, exact = paths(300, 0.001)
    noisy[:, 7] += np.linspace(0, 2, len(PHASES))[:, None]
    noisy[3, 20] += 30
    valid = np.ones(noisy.shape[:2], bool)
    valid[3, 20] = False
    filtered = filter_paths(noisy, valid)
    assert 7 not in filtered.rows
    assert 20 in filtered.rows
    assert len(filtered.rows) > 290
    assert np.linalg.norm(filtered.points - exact[:, filtered.rows], axis=2).max() < 0.02


def test_a_row_seen_in_one_frame_is_dropped() -> None:
    noisy, _ = paths(300)
    valid = np.ones(noisy.shape[:2], bool)
    valid[1:, 5] = False
    assert 5 not in filter_paths(noisy, valid).rows


@pytest.mark.parametrize("seen", [2, 4, 7])
def test_gaps_are_filled_though_every_row_has_one(seen: int) -> None:
    """Each row is seen in `seen` frames in a row, of nine: it begins late, ends early, or both."""
    exact = paths(600)[1]
    first = np.random.default_rng(1).integers(1 - seen, len(PHASES) - 1, 600)
    age = np.arange(len(PHASES))[:, None] - first
    valid = (age >= 0) & (age < seen)  # [T, N]
    some = often_seen(valid)
    filtered = filter_paths(np.where(valid[..., None], exact, 0), valid)
    off = np.linalg.norm(filtered.points - exact[:, filtered.rows], axis=2)
    assert len(filtered.rows) > 0.95 * some.sum()
    still = np.linalg.norm(exact - exact[0], axis=2)
    assert off.mean() < 0.02 * still.mean()


def test_a_gap_is_filled_from_both_ends_in_a_thing_that_turns() -> None:
    rest = paths(100)[1][0]
    exact = np.stack([rest @ Rotation.from_rotvec([0, angle, 0]).as_matrix().T for angle in np.arange(9.0)])
    valid = np.ones(exact.shape[:2], bool)
    valid[2:7, ::2] = valid[5:, 1::4] = False
    filled = fill(np.where(valid[..., None], exact, 0), valid)
    np.testing.assert_array_equal(filled[valid], exact[valid])
    np.testing.assert_allclose(filled, exact, atol=1e-9)


@pytest.mark.parametrize("count", [300, 3000])
def test_the_surface_follows_its_points(count: int) -> None:
    vertices, faces = solid()
    carried = carry_along(vertices, faces, paths(count)[1], 4)
    exact = np.stack([bend(vertices, phase) for phase in PHASES])
    carried_from_4 = carry_along(exact[4], faces, paths(count)[1], 4)
    np.testing.assert_allclose(carried_from_4[4], exact[4], atol=1e-12)
    error = np.linalg.norm(carried_from_4 - exact, axis=2)
    assert error.mean() < 0.002
    assert error.max() < 0.03
    assert np.linalg.norm(carried - exact, axis=2).mean() > 10 * error.mean()  # the frame matters


def test_an_arm_that_touches_the_torso_does_not_drag_it() -> None:
    torso, arm = (_ellipsoid(*sizes) for sizes in (([0.2, 0.5, 0.15], 0.0), ([0.06, 0.4, 0.06], 0.27)))
    vertices, first = np.concatenate([torso[0], arm[0]]), len(torso[0])
    faces = np.concatenate([torso[1], arm[1] + first])
    rng = np.random.default_rng(1)
    points = np.concatenate([draw(*torso, 300, rng), draw(*arm, 300, rng)])
    away = np.linspace(0, 0.6, 5)[:, None, None] * [1.0, 0, 0]  # [T, 1, 3]
    moving = points + away * (np.arange(600) >= 300)[:, None]
    moved = carry_along(vertices, faces, moving, 0)[-1] - vertices
    assert np.linalg.norm(moved[:first], axis=1).mean() < 0.003  # 0.6 where it is dragged along
    assert np.linalg.norm(moved[first:] - away[-1], axis=1).mean() < 0.003


def _ellipsoid(radii: list[float], shift: float) -> tuple[Floats, Ints]:
    sphere = trimesh.creation.icosphere(subdivisions=4)
    return np.asarray(sphere.vertices) * radii + [shift, 0, 0], np.asarray(sphere.faces, np.int64)


def test_a_sequence_of_one_pose_is_still() -> None:
    rng = np.random.default_rng(0)
    vertices, faces = solid()
    drawn = [draw(vertices, faces, 600, rng) for _ in range(8)]
    assert is_still(drawn)
    same = draw(vertices, faces, 300, rng) + rng.normal(0, 0.0005, (5, 300, 3))
    assert is_still(list(same), np.ones((5, 300), bool))
    assert not is_still([draw(bend(vertices, phase / 5), faces, 600, rng) for phase in PHASES])
    assert not is_still(list(paths(300)[0]), np.ones((9, 300), bool))


def test_a_part_that_moves_in_one_frame_is_seen() -> None:
    rng = np.random.default_rng(0)
    vertices, faces = solid()
    raised = vertices + 0.15 * (vertices[:, :1] > 0.35) * [0.0, 1.0, 0.0]  # a twentieth of the surface
    drawn = [draw(raised if t == 4 else vertices, faces, 600, rng) for t in range(8)]
    assert not is_still(drawn)
    assert not is_still([cloud[:100] for cloud in drawn])  # too few to be sure
    same = np.stack([raised if t == 4 else vertices for t in range(8)])
    assert not is_still(list(same), np.ones(same.shape[:2], bool))


def test_rows_that_are_not_seen_do_not_stand_still() -> None:
    points = paths(300)[1]
    valid = np.ones(points.shape[:2], bool)
    valid[:, :200] = valid[2, 200:] = False
    points[~valid] = 0
    assert not is_still(list(points), valid)
    assert is_still([points[0]] * 9, valid)


def test_tracking_along_particles_needs_no_search() -> None:
    noisy, _ = paths(400, 0.001)
    vertices, faces = solid()
    exact = np.stack([bend(vertices, phase) for phase in PHASES])
    asked: list[Floats] = []
    noises: list[float] = []

    def surface(points: Floats, noise: float) -> tuple[Floats, Ints]:
        # The true one, in the place and size of the points.
        asked.append(points)
        key = int(np.argmin([_shape_apart(points, frame) for frame in noisy]))
        size = np.sqrt(points.var(axis=0).sum() / noisy[key].var(axis=0).sum())
        noises.append(noise / size)
        return (exact[key] - noisy[key].mean(axis=0)) * size + points.mean(axis=0), faces

    result = track_corresponding(noisy, PHASES, surface)
    assert len(asked) == 1
    assert noises == [pytest.approx(0.001, rel=0.2)]
    assert np.linalg.norm(result.vertices - exact, axis=2).mean() < 0.004
    assert result.residuals.max() < 0.02
    assert result.confidence.shape == exact.shape[:2]
    between = result.at(np.array([0.3, 0.55]))
    truth = np.stack([bend(vertices, phase) for phase in (0.3, 0.55)])
    assert np.linalg.norm(between - truth, axis=2).mean() < 0.004
    np.testing.assert_allclose(result.at(PHASES), result.vertices, atol=1e-9)


def ball(points: Floats, _: float) -> tuple[Floats, Ints]:
    """A sphere in the place and size of the points [N, 3]."""
    sphere = trimesh.creation.icosphere(subdivisions=2)
    vertices = np.asarray(sphere.vertices) * points.std() + points.mean(axis=0)
    return vertices, np.asarray(sphere.faces, np.int64)


def test_the_order_of_rows_does_not_matter() -> None:
    noisy, _ = paths(200, 0.003)
    order = np.random.default_rng(0).permutation(200)
    valid = np.random.default_rng(1).random(noisy.shape[:2]) > 0.05
    found = track_corresponding(noisy, PHASES, ball, valid)
    again = track_corresponding(noisy[:, order], PHASES, ball, valid[:, order])
    np.testing.assert_array_equal(again.vertices, found.vertices)


def _shape_apart(first: Floats, second: Floats) -> float:
    first, second = ((c - c.mean(axis=0)) / np.sqrt(c.var(axis=0).sum()) for c in (first, second))
    return float(((first - second) ** 2).sum())


def test_a_cut_is_not_bridged() -> None:
    _, exact = paths(200)
    leap = exact.copy()
    leap[4:, :, 0] += 3
    result = track_corresponding(leap, PHASES, ball)
    assert result.jumps == [4]
    before, after = result.at((PHASES[3] + PHASES[4]) / 2 + np.array([-0.01, 0.01]))
    assert np.median((after - before)[:, 0]) == pytest.approx(3, abs=0.3)
