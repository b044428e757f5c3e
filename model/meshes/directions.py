"""Directions that are spread evenly."""

import numpy as np

from model.compiled import Floats


def spread(count: int) -> Floats:
    """Unit vectors [count, 3] on a spiral from pole to pole."""
    step = np.arange(count) + 0.5
    height, angle = 1 - 2 * step / count, np.pi * (1 + np.sqrt(5)) * step
    wide = np.sqrt(1 - height**2)
    return np.stack([wide * np.cos(angle), wide * np.sin(angle), height], axis=1)
