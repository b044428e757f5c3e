"""A guess which way is up, for models that do not need to know: people who look at the result do."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LOW, HIGH = 0.02, 0.98  # quantiles between which a cloud extends: what lies outside may be stray
TALLER = 1.25  # times further that a thing reaches along z than along y if z is up
WALKS = 0.3  # of its size that a thing goes along an axis that is level
WIDE = 1.75  # tangent of half the field of view of a camera, at most


def guess_up(clouds: Sequence[NDArray[np.floating]]) -> str:
    """`y` or `z`, from the first and the last of clouds [N_t, 3] that have points: y unless z is likelier.

    Things that walk do so on level ground, and people and most animals are taller than deep. Points
    before a camera at the origin that looks along -z are in the axes of glTF. The page guesses alike.
    """
    clouds = [cloud for cloud in clouds if len(cloud)]
    spans = np.stack([_span(clouds[0]), _span(clouds[-1])])  # [2, 2, 3]
    extent = spans[:, 1] - spans[:, 0]  # [2, 3]
    walked = np.abs(spans[1].mean(axis=0) - spans[0].mean(axis=0))  # [3]
    far = WALKS * extent.max()
    if _before_a_camera(clouds[0]) or walked[2] > max(far, 2 * walked[1]):
        return "y"
    return "z" if walked[1] > max(far, 2 * walked[2]) or extent[0, 2] > TALLER * extent[0, 1] else "y"


def _span(cloud: NDArray[np.floating]) -> NDArray[np.floating]:
    """Between which coordinates [2, 3] a cloud [N, 3] lies."""
    ordered = np.sort(cloud, axis=0)
    return ordered[[int(LOW * len(cloud)), int(HIGH * len(cloud))]]


def _before_a_camera(cloud: NDArray[np.floating]) -> bool:
    depth = -cloud[:, 2]
    seen = (depth > 0) & (np.abs(cloud[:, :2]).max(axis=1) < WIDE * depth)
    return bool(seen.mean() > HIGH)
