"""Which frames templates are taken from."""

import numpy as np
import pytest

from model.compiled import Floats, Ints
from model.registration import Options, track
from model.registration.clouds import canonical, make_cloud
from model.registration.keyframes import candidates, preferred, single
from tests.model.registration.solids import exact, sequence


def test_the_frame_with_its_points_furthest_apart_and_the_first_are_tried() -> None:
    clouds, _, _ = sequence(5, 300)
    clouds[3] = 1.3 * clouds[3]
    frames = [make_cloud(canonical(c)) for c in clouds]
    assert candidates(frames, 1) == [3]
    assert candidates(frames, 2) == [3, 0]
    assert candidates(frames, 5) == [3, 0, *candidates(frames, 5)[2:]]
    assert len(set(candidates(frames, 9))) == 5


def test_frames_with_far_fewer_points_than_others_are_not_tried() -> None:
    clouds, _, _ = sequence(6, 400)
    few = {t: 1.3 * cloud[:40] for t, cloud in enumerate(clouds) if t in (0, 3)}
    frames = [make_cloud(canonical(few.get(t, cloud))) for t, cloud in enumerate(clouds)]
    assert set(candidates(frames, 9)) == {1, 2, 4, 5}


@pytest.mark.parametrize(("larger", "frame"), [(1.02, 0), (1.3, 3)])
def test_a_single_template_is_of_the_first_frame_unless_another_is_clearly_wider(
    larger: float, frame: int
) -> None:
    points = np.random.default_rng(0).random((100, 3))
    clouds = [make_cloud(points * (larger if number == 3 else 1)) for number in range(5)]
    assert single(clouds) == frame


def test_copies_of_one_frame_are_tried_once() -> None:
    cloud = make_cloud(canonical(np.random.default_rng(0).random((100, 3))))
    assert candidates([cloud] * 4, 3) == [0]


@pytest.mark.parametrize("frames", [6, 33])
def test_of_two_templates_the_one_that_fits_is_used_however_many_frames_there_are(frames: int) -> None:
    clouds, vertices, faces = sequence(frames, 120)
    clouds[0] = np.concatenate([clouds[0], clouds[0][:1] + 1e-3])  # of 121 points, the only one
    clouds[3], vertices[3] = 1.02 * clouds[3], 1.02 * vertices[3]  # tried before frame 0
    right = exact(clouds, vertices, faces)
    asked: list[int] = []

    def extract(points: Floats) -> tuple[Floats, Ints]:
        asked.append(len(points))
        found, faces = right(points)
        return found + (found - found.mean(0)) * (len(points) == 120), faces  # twice as large

    result = track(clouds, None, extract, options=Options(keyframes_of_few=2, starts=1, sweeps=0))
    assert (result.keyframe, sorted(asked)) == (0, [120, 121])
    assert len(result.vertices) == frames
    assert np.linalg.norm(result.vertices - vertices, axis=2).mean() < 0.03


def test_of_templates_that_fit_alike_the_usual_one_is_used() -> None:
    assert preferred([8, 0], [1.00, 1.02], 0) == 1
    assert preferred([8, 0], [1.00, 1.10], 0) == 0
    assert preferred([8, 0], [1.05, 1.00], 8, close=1.1) == 0
    assert preferred([8, 0], [1.15, 1.00], 8, close=1.1) == 1
    assert preferred([8, 4, 0], [1.02, 1.00, 1.10], 0) == 1
    assert preferred([8, 0], [np.inf, 1.0], 0) == 1
