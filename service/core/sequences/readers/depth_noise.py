"""Noise of depth images: measured in each, and averaged away where neighboring pixels differ by nothing else.

A camera's noise grows with the square of the depth (Khoshelham and Elberink, "Accuracy and resolution of
Kinect depth data", 2012). It would make a thin, rough shell of what the camera sees.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

RADIUS = 2  # pixels
FOURTH = np.array([1, -4, 6, -4, 1])  # difference of neighbors in a row, next to nothing on a smooth surface
SPREAD = 1.4826 / np.sqrt((FOURTH**2).sum())  # from its median size to the standard deviation of a depth
WITHIN = 3 * np.sqrt(1.5)  # standard deviations that a pixel may differ from the mean of two others by noise
FEWEST, MOST = 64, 1 << 16  # differences that are looked at


def noise(depth: NDArray[Any], valid: NDArray[np.bool_]) -> float:
    """Standard deviation of the depths [H, W] of `valid` pixels over their squares; 0 if few tell it."""
    width = depth.shape[1] - len(FOURTH) + 1
    if width < 1:
        return 0.0
    whole = np.logical_and.reduce([valid[:, k : k + width] for k in range(len(FOURTH))])  # [H, W - 4]
    rows, columns = np.nonzero(whole)
    if len(rows) < FEWEST:
        return 0.0
    some = slice(None, None, -(-len(rows) // MOST))
    near = np.stack([depth[rows[some], columns[some] + k] for k in range(len(FOURTH))]).astype(np.float64)
    return float(np.median(np.abs(FOURTH @ near) / near[len(FOURTH) // 2] ** 2) * SPREAD)


def smoothed(
    depth: NDArray[Any], valid: NDArray[np.bool_], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Depths [N] at pixels of an image [H, W] that is known where it is `valid`, freed of noise.

    Each is averaged with pairs of pixels on both sides of it, whose mean is the same on a slanted surface.
    A pair whose mean differs by more than noise is left out: it lies across an edge.
    """
    middle = depth[rows, columns].astype(np.float64)  # [N]
    most = WITHIN * noise(depth, valid) * middle**2
    total, count = middle.copy(), np.ones(len(middle))
    padded, known = (np.pad(image, RADIUS) for image in (depth, valid))
    for down in range(RADIUS + 1):
        for right in range(-RADIUS if down else 1, RADIUS + 1):
            ahead = rows + RADIUS + down, columns + RADIUS + right
            behind = rows + RADIUS - down, columns + RADIUS - right
            both = padded[ahead].astype(np.float64) + padded[behind]
            alike = known[ahead] & known[behind] & (np.abs(both / 2 - middle) <= most)
            total += np.where(alike, both, 0)
            count += 2 * alike
    return np.asarray(total / count)
