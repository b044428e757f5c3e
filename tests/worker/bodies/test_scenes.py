"""Varied people and motions: wider than the rig's, still people; trailing soft tissue; people held out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.worker.geometry import nearest
from worker.bodies import ACTIONS, load_rig
from worker.bodies.animation import pose_body
from worker.bodies.motions import hips, punching
from worker.bodies.pose import Pose
from worker.bodies.scenes import HELD_OUT_ADULTS, TRAINING_ADULTS, Scenes
from worker.bodies.soft_tissue import GIRTHS, LAG, SoftTissue, corpulence
from worker.bodies.variety import draw_pose, mirrored
from worker.data.bodies_dataset import SPLITS

RIG = load_rig()
SECONDS = np.arange(17) / 60


def body_mass_index(vertices: NDArray[Any]) -> float:
    a, b, c = np.moveaxis(vertices[RIG.faces], 1, 0)
    return 1000 * (a * np.cross(b, c)).sum() / 6 / np.ptp(vertices[:, 1]) ** 2


def test_unseen_people_are_nobody_that_training_mixes() -> None:
    assert not set(HELD_OUT_ADULTS) & set(TRAINING_ADULTS)
    assert set(HELD_OUT_ADULTS) | set(TRAINING_ADULTS) == set(range(len(load_rig().adults)))
    assert SPLITS["test_new_individual"][1] == HELD_OUT_ADULTS
    assert SPLITS["train"][1] == SPLITS["test"][1] == TRAINING_ADULTS
    rig, plain = load_rig(), Scenes(HELD_OUT_ADULTS, variety=0.0, turn=0.0)
    known = np.stack([rig.body(rig.adults[i]).vertices for i in HELD_OUT_ADULTS])
    for seed in range(5):
        body = plain.draw_body(np.random.default_rng(seed))
        assert np.abs(known - body.vertices).max(axis=(1, 2)).min() < 1e-9


@pytest.mark.parametrize("action", ACTIONS)
def test_varied_bodies_move_smoothly_and_stand_on_the_floor(action: str) -> None:
    scenes = Scenes(TRAINING_ADULTS, variety=1.0, turn=30.0)
    for seed in range(3):
        vertices = scenes.draw(np.random.default_rng(seed), 17, action).vertices
        assert vertices.shape == (17, 4002, 3)
        assert np.isfinite(vertices).all()
        assert 1.0 < np.ptp(vertices[0, :, 1]) < 2.6
        assert np.linalg.norm(np.diff(vertices, axis=0), axis=2).max() < 0.35, "metres in 1/60 s"
        assert -0.02 < vertices[..., 1].min() < 0.3


def test_one_unit_of_corpulence_is_one_unit_of_body_mass_index() -> None:
    heavier = corpulence(RIG)
    for coefficients in (np.zeros(10), RIG.adults[5], RIG.adults[40]):
        thin, heavy = (RIG.body(coefficients + amount * heavier).vertices for amount in (0, 10))
        assert body_mass_index(heavy) - body_mass_index(thin) == pytest.approx(10, abs=1)
        assert np.ptp(heavy[:, 1]) == pytest.approx(np.ptp(thin[:, 1]), abs=0.02)


def test_drawn_people_are_wider_than_the_adults_and_still_people() -> None:
    scenes = Scenes(TRAINING_ADULTS, variety=1.0, turn=0.0)
    drawn = [scenes.draw_body(np.random.default_rng(seed)).vertices for seed in range(200)]
    indices = np.array([body_mass_index(vertices) for vertices in drawn])
    assert (indices > 36).mean() > 0.08, "36 is the heaviest adult of the rig"
    assert indices.max() < 65
    assert indices.min() > 10
    heights = [np.ptp(vertices[:, 1]) for vertices in drawn]
    assert 1.35 < min(heights) < max(heights) < 2.25


def test_soft_tissue_is_added_where_it_was_asked_for() -> None:
    body = RIG.body()
    belly = np.zeros(len(GIRTHS))
    belly[list(GIRTHS).index("belly")] = 2.0
    moved = np.linalg.norm(SoftTissue(RIG).put_on(body, belly).vertices - body.vertices, axis=1)
    assert moved.max() == pytest.approx(0.024, abs=0.002), "two standard deviations of 12 mm"
    assert moved[body.vertices[:, 1] < body.joints[RIG.bones["lowerleg01.L"], 1]].max() == 0, (
        "below the knees"
    )


def test_soft_tissue_trails_a_body_that_turns_around_and_rests_on_one_that_is_still() -> None:
    tissue = SoftTissue(RIG)
    still = np.repeat(RIG.mean.vertices[None], LAG + 4, axis=0)
    np.testing.assert_allclose(tissue.trail(still, 0.5), still[LAG:], atol=1e-12)
    rising = still + 0.01 * np.arange(len(still))[:, None, None]
    behind = rising[LAG:] - tissue.trail(rising, 0.5)
    assert behind.min() >= -1e-12
    assert behind.max() == pytest.approx(0.5 * LAG * 0.01, rel=0.05), "the softest vertex, half of the way"
    head = RIG.weights[:, [RIG.bones["head"]]].sum(axis=1) > 0.99
    assert np.abs(behind[:, head]).max() < 1e-12, "a head is firm"
    np.testing.assert_array_equal(tissue.trail(rising, 0.0), rising[LAG:])


@pytest.mark.parametrize("motion", [punching, hips])
def test_mirrored_pose_is_the_mirror_image(
    motion: Callable[[np.random.Generator, NDArray[Any]], Pose],
) -> None:
    body = RIG.body()  # left and right of the mean are alike to a centimetre
    pose = motion(np.random.default_rng(4), SECONDS)
    vertices, mirror = pose_body(RIG, body, pose), pose_body(RIG, body, mirrored(pose))
    for frame in (0, 16):
        image = mirror[frame] * [-1, 1, 1]
        assert nearest(vertices[frame], image).mean() < 0.01
        assert nearest(vertices[frame], mirror[frame]).mean() > 0.03, "and the pose is lopsided"


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 60])
def test_scenes_may_be_of_any_length(frames: int) -> None:
    scene = Scenes(TRAINING_ADULTS, variety=1.0, turn=0.0).draw(np.random.default_rng(0), frames)
    assert scene.vertices.shape == (frames, 4002, 3)


def test_no_variety_is_the_motion_itself() -> None:
    plain = draw_pose(np.random.default_rng(4), SECONDS, "punching", 0.0)
    expected = punching(np.random.default_rng(4), SECONDS)
    for side, wanted in zip(plain.sides, expected.sides, strict=True):
        np.testing.assert_array_equal(side.elbow, wanted.elbow)
        np.testing.assert_array_equal(side.hip_flexion, wanted.hip_flexion)


def test_people_who_push_off_do_not_jerk() -> None:
    """Nobody's mean height jumps: the second difference stays within a few times gravity."""
    scenes = Scenes(TRAINING_ADULTS, variety=1.0, turn=0.0)
    for seed in range(8):
        vertices = scenes.draw(np.random.default_rng(seed), 17, "light_hopping").vertices
        acceleration = np.diff(vertices[..., 1].mean(axis=1), 2) * 60**2
        assert np.abs(acceleration).max() < 45
