"""Motions of nodes."""

import numpy as np

from model.registration.graph import Motion
from model.registration.motions import extrapolate
from model.registration.rotations import nearest_rotations


def test_rounding_does_not_grow_where_a_motion_goes_on() -> None:
    rng = np.random.default_rng(0)
    rotations, positions = nearest_rotations(rng.normal(size=(2, 50, 3, 3))), np.zeros((50, 3))
    before, now = (Motion(of_frame, positions) for of_frame in rotations)
    for _ in range(100):
        before, now = now, extrapolate(now, before)
    products = now.rotations @ now.rotations.transpose(0, 2, 1)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), (50, 3, 3)), atol=1e-12)
