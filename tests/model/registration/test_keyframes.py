"""Which frames templates are taken from."""

import numpy as np

from model.registration.clouds import canonical, make_cloud
from model.registration.keyframes import candidates
from tests.model.registration.solids import sequence


def test_the_frame_with_its_points_furthest_apart_and_the_first_are_tried() -> None:
    clouds, _, _ = sequence(5, 300)
    clouds[3] = 1.3 * clouds[3]
    frames = [make_cloud(canonical(c)) for c in clouds]
    assert candidates(frames, 1) == [3]
    assert candidates(frames, 2) == [3, 0]
    assert candidates(frames, 5) == [3, 0, *candidates(frames, 5)[2:]]
    assert len(set(candidates(frames, 9))) == 5


def test_copies_of_one_frame_are_tried_once() -> None:
    cloud = make_cloud(canonical(np.random.default_rng(0).random((100, 3))))
    assert candidates([cloud] * 4, 3) == [0]
