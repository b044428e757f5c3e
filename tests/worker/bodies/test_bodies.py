"""Bodies: the surface is sound, the poses are the ones the shipped model was trained on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.bodies import ACTIONS, animate, draw_surface_points, load_rig
from worker.bodies.animation import pose_body
from worker.bodies.curves import bump, flight, landing
from worker.bodies.motions import stand
from worker.bodies.pose import Pose

RIG = load_rig()
PARITY = Path(__file__).parents[2] / "data" / "bodies_parity.npz"


def winding_number(points: NDArray[Any], vertices: NDArray[Any], faces: NDArray[Any]) -> NDArray[Any]:
    """Generalised winding number [P] by solid angles: 0 outside, 1 inside, 2 where two parts overlap."""
    total = np.zeros(len(points))
    for rows in np.array_split(np.arange(len(points)), max(1, len(points) // 50)):
        a, b, c = np.moveaxis(vertices[faces][None] - points[rows, None, None], 2, 0)  # [p, F, 3] each
        la, lb, lc = (np.linalg.norm(x, axis=-1) for x in (a, b, c))
        below = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
        angle = 2 * np.arctan2((a * np.cross(b, c)).sum(-1), below)
        total[rows] = angle.sum(-1) / (4 * np.pi)
    return total


def volume(vertices: NDArray[Any], faces: NDArray[Any]) -> float:
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


def vertex_normals(vertices: NDArray[Any], faces: NDArray[Any]) -> NDArray[Any]:
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    normals = np.zeros_like(vertices)
    np.add.at(normals, faces, np.cross(b - a, c - a)[:, None])
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def moved_by(*bones: str) -> NDArray[Any]:
    """Which vertices [V] hang on these bones, to nine tenths."""
    return RIG.weights[:, [RIG.bones[name] for name in bones]].sum(axis=1) > 0.9


def test_rig_is_one_closed_consistently_oriented_surface() -> None:
    edges = RIG.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    directed = {tuple(edge) for edge in edges.tolist()}
    assert len(directed) == len(edges), "an edge is walked twice in one direction"
    assert all((b, a) in directed for a, b in directed), "an edge has a face on one side only"
    vertices = len(np.unique(RIG.faces))
    assert vertices == len(RIG.mean.vertices)
    assert vertices - len(edges) // 2 + len(RIG.faces) == 2, "Euler characteristic of a sphere"
    np.testing.assert_allclose(RIG.weights.sum(axis=1), 1, atol=1e-12)
    assert all(parent < bone for bone, parent in enumerate(RIG.parents))


def test_bodies_have_human_size_and_face_forwards() -> None:
    heights, volumes = [], []
    for coefficients in RIG.adults:
        body = RIG.body(coefficients)
        heights.append(np.ptp(body.vertices[:, 1]))
        volumes.append(volume(body.vertices, RIG.faces))  # positive: faces turn outwards
    assert min(heights) > 1.4
    assert max(heights) < 2.1
    assert np.std(heights) > 0.03
    assert min(volumes) > 0.03  # cubic metres: 30 to 150 litres
    assert max(volumes) < 0.15
    joints, bones = RIG.mean.joints, RIG.bones
    assert joints[bones["toe1-1.L"], 2] > joints[bones["foot.L"], 2], "toes point to +z"
    assert joints[bones["wrist.L"], 0] > 0 > joints[bones["wrist.R"], 0], "left is +x"


def test_body_takes_few_or_no_coefficients_and_refuses_too_many() -> None:
    np.testing.assert_array_equal(RIG.body().vertices, RIG.mean.vertices)
    np.testing.assert_allclose(RIG.body([1.5]).vertices, RIG.mean.vertices + 1.5 * RIG.shape_vertices[0])
    with pytest.raises(ValueError, match=r"\[11\], wanted at most \[10\]"):
        RIG.body(np.zeros(11))


def test_unturned_bones_leave_the_body_at_rest_and_the_root_turns_all_of_it() -> None:
    body = RIG.body(RIG.adults[4])
    np.testing.assert_allclose(RIG.skin(body, {})[0], body.vertices, atol=1e-12)
    half_turn = np.diag([-1.0, 1.0, -1.0])[None]
    root = body.joints[RIG.bones["root"]]
    expected = (body.vertices - root) @ half_turn[0].T + root
    np.testing.assert_allclose(RIG.skin(body, {"root": half_turn})[0], expected, atol=1e-12)
    with pytest.raises(ValueError, match="no bone 'tail'"):
        RIG.skin(body, {"tail": half_turn})


def test_angles_mean_what_they_say() -> None:
    body = RIG.body()
    pose = Pose(frames=2)
    pose.left.elbow = np.array([0.0, 90.0])
    pose.right.hip_flexion, pose.right.knee = np.array([0.0, 90.0]), np.array([0.0, 90.0])
    for side in pose.sides:
        side.arm_abduction = 30.0
    still, bent = pose_body(RIG, body, pose)
    hand, foot = moved_by("finger3-2.L"), moved_by("foot.R")
    assert (bent - still)[hand].mean(0)[2] > 0.15, "a bent elbow brings the left hand forwards"
    assert (bent - still)[foot].mean(0)[1] > 0.3, "a raised knee lifts the right foot"
    unmoved = moved_by("head", "finger3-2.R", "foot.L")
    np.testing.assert_allclose(bent[unmoved], still[unmoved], atol=1e-9)


def test_poses_are_those_the_shipped_model_was_trained_on() -> None:
    """Vertices of ten seeded sequences, from the implementation that made the training data."""
    with np.load(PARITY, allow_pickle=False) as data:
        assert data["actions"].tolist() == list(ACTIONS)
        for i, action in enumerate(ACTIONS):
            body = RIG.body(RIG.adults[data["adults"][i]])
            vertices = animate(RIG, body, action, np.random.default_rng(data["seeds"][i]))
            picked = vertices[data["frames"]][:, data["rows"]]
            np.testing.assert_allclose(picked, data["vertices"][i], atol=2e-6, err_msg=action)


@pytest.mark.parametrize("action", ACTIONS)
def test_action_moves_on_the_floor_and_repeats_with_its_seed(action: str) -> None:
    def run() -> NDArray[Any]:
        rng = np.random.default_rng(5)
        return animate(RIG, RIG.draw_body(rng), action, rng)

    vertices = run()
    assert vertices.shape == (50, 4002, 3)
    assert np.isfinite(vertices).all()
    lowest = vertices[..., 1].min(axis=1)
    assert lowest.min() == pytest.approx(0, abs=1e-9), "the feet touch the floor, and never go through it"
    assert lowest.max() < 0.15, "nobody flies"
    steps = np.linalg.norm(np.diff(vertices, axis=0), axis=-1)  # metres a frame
    assert np.ptp(vertices, axis=0).max() > 0.05, "something moves by 5 cm"
    assert steps.max() < 0.3, "and nothing jumps (0.3 m in 1/60 s is 18 m/s)"
    stretch = np.array([volume(frame, RIG.faces) for frame in vertices[::10]])
    np.testing.assert_allclose(stretch, stretch.mean(), rtol=0.08)
    np.testing.assert_array_equal(vertices, run())


def test_unknown_action_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no action 'fly'; there are jumping_jacks, punching"):
        animate(RIG, RIG.body(), "fly", np.random.default_rng(0))


def overlap_of_arms(vertices: NDArray[Any]) -> float:
    """Share of forearm and hand that lies in another part of the body."""
    bones = [
        i
        for name, i in RIG.bones.items()
        if name.startswith(("lowerarm", "wrist", "metacarpal", "finger2", "finger3"))
    ]
    arm = np.flatnonzero(RIG.weights[:, bones].sum(axis=1) > 0.9)[::6]
    just_outside = vertices[arm] + 0.002 * vertex_normals(vertices, RIG.faces)[arm]
    return float((winding_number(just_outside, vertices, RIG.faces) > 0.5).mean())


def test_hanging_arms_stay_out_of_the_torso() -> None:
    """In bodies of all girths, even where the motion asks for arms pressed to the body."""
    by_girth = sorted(RIG.adults, key=lambda c: volume(RIG.body(c).vertices, RIG.faces))
    for coefficients in (by_girth[0], by_girth[32], by_girth[-1]):
        body = RIG.body(coefficients)
        for pressed in (False, True):
            pose = stand(np.random.default_rng(3), np.zeros(1))
            for side in pose.sides:
                side.arm_abduction = 0.0 if pressed else side.arm_abduction
            assert overlap_of_arms(pose_body(RIG, body, pose)[0]) < 0.02


def test_the_overlap_measure_sees_an_arm_in_the_torso(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.bodies.animation.arm_clearance", lambda rig, body: -90.0)
    pose = stand(np.random.default_rng(3), np.zeros(1))
    for side in pose.sides:
        side.arm_abduction = -15.0
    assert overlap_of_arms(pose_body(RIG, RIG.body(), pose)[0]) > 0.3


def test_surface_points_lie_on_the_surface_uniformly_and_keep_their_particle() -> None:
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0, 0], [4, 0, 0], [0, 2, 0], [0, 0, 5], [1, 0, 5], [0, 1, 5.0]])
    particles = draw_surface_points(corners, np.array([[0, 1, 2], [3, 4, 5]]), 20_000, rng)
    points = particles.on(corners)
    large = points[points[:, 2] < 2.5]
    assert len(points) == 20_000
    np.testing.assert_allclose(points[:, 2], 5 * (points[:, 2] > 2.5), atol=1e-12)
    assert len(large) / 20_000 == pytest.approx(4 / 4.5, abs=0.01), "by area"
    np.testing.assert_allclose(large.mean(0), [4 / 3, 2 / 3, 0], atol=0.03)
    assert (particles.weights >= 0).all()
    np.testing.assert_allclose(particles.weights.sum(1), 1)

    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    moved = particles.on(np.stack([corners, corners @ turn.T + 3]))  # [2, N, 3]
    np.testing.assert_allclose(moved[1], moved[0] @ turn.T + 3, atol=1e-12)


def test_curves() -> None:
    phase = np.linspace(0, 1, 101)[:-1]
    assert bump(phase).max() == 1
    assert bump(np.array([0.0, 1.0, 7.0])).max() == pytest.approx(0)
    air, land = flight(phase, 0.6), landing(phase, 0.6)
    assert (np.minimum(air, land) == 0).all(), "nobody crouches in the air"
    assert air[30] == pytest.approx(1)
    assert land[80] == pytest.approx(1)
