"""Noise of depth images goes; slopes, edges and holes stay."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.core.sequences.readers.depth_noise import noise, smoothed

ROWS, COLUMNS = np.indices((60, 80))
SLANTED = 2000 + 8.0 * COLUMNS - 5.0 * ROWS  # [60, 80]
STEP = np.where(COLUMNS < 40, SLANTED, SLANTED + 400)


def smooth(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """All depths of an image [H, W], 0 where there is none, as a camera stores it."""
    stored = image.round().astype(np.uint16)
    rows, columns = np.nonzero(stored)
    result = np.zeros(image.shape)
    result[rows, columns] = smoothed(stored, stored > 0, rows, columns)
    return result


@pytest.mark.parametrize("image", [SLANTED, STEP])
def test_noise_is_averaged_away_on_both_sides_of_an_edge(image: NDArray[np.float64]) -> None:
    noisy = image + np.random.default_rng(0).normal(0, 12, image.shape) * (image / 2000) ** 2
    assert noise(noisy.round().astype(np.uint16), noisy > 0) == pytest.approx(12 / 2000**2, rel=0.1)
    left = np.abs(smooth(noisy) - image)
    assert left.mean() < 0.4 * np.abs(noisy - image).mean()
    assert left.max() < 100  # nothing is drawn towards the other side of the step of 400


def test_without_noise_depths_stay_with_edges_and_holes() -> None:
    image = STEP.copy()
    image[20:30, 10:30] = 0
    np.testing.assert_allclose(smooth(image), image, atol=1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (3, 3), (70, 5)])
def test_images_of_any_size_and_alone_pixels(shape: tuple[int, int]) -> None:
    image = np.zeros(shape)
    image[0, 0] = 1500
    np.testing.assert_array_equal(smooth(image), image)
    assert noise(image.astype(np.uint16), image > 0) == 0
