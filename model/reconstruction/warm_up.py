"""Compiles what a first reconstruction would wait for: kernels that are not in the cache of compiled code."""

from contextlib import suppress

import numpy as np

from model.compiled import Floats
from model.errors import ModelError
from model.reconstruction.reconstructor import Reconstructor

FRAMES, POINTS = 3, 64


def warm_up(reconstructor: Reconstructor) -> None:
    """Reconstruct two tiny sequences, of unordered and of corresponding points.

    Takes about a second, and half a minute where nothing has been compiled yet.
    """
    rng = np.random.default_rng(0)
    times = np.linspace(0, 1, FRAMES)
    drawn = [_ellipsoid(rng.normal(size=(POINTS + t, 3)), time) for t, time in enumerate(times)]
    kept = rng.normal(size=(POINTS, 3))
    for clouds in (drawn, [_ellipsoid(kept, time) for time in times]):
        with suppress(ModelError):  # a model of people finds none
            reconstructor(clouds, resolution=32, quality="draft")


def _ellipsoid(points: Floats, time: float) -> Floats:
    """Points [N, 3] on an ellipsoid that moves along x and grows along y."""
    directions = points / np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(directions * [1.0, 0.5 + 0.1 * time, 0.4] + [0.1 * time, 0.0, 0.0])
