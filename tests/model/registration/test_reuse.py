"""What is computed once instead of often, compared with its reference."""

import numpy as np

from model.registration.pull import GATHERED, diffusion, offsets, pull
from tests.model.registration.solids import draw, solid


def test_one_factorization_serves_all_rounds() -> None:
    truth, faces = solid()
    points = draw(truth, faces, 1000, np.random.default_rng(0))
    expected = thinner = truth * [1.0, 0.9, 0.85]
    for _ in range(3):
        expected = expected + offsets(expected, faces, [expected], [points], 0.2)
    np.testing.assert_allclose(pull(thinner, faces, points, 0.2), expected, atol=1e-3)


def test_a_given_diffusion_is_used() -> None:
    truth, faces = solid()
    points = draw(truth, faces, 1000, np.random.default_rng(0))
    thinner = truth * [1.0, 0.9, 0.85]
    smooth = diffusion(thinner, faces, GATHERED * len(truth) / len(points))
    given = offsets(thinner, faces, [thinner], [points], 0.2, smooth)
    np.testing.assert_allclose(given, offsets(thinner, faces, [thinner], [points], 0.2), atol=1e-9)
