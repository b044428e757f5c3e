"""Motion between frames: smooth, and never far from them, however unevenly they follow each other."""

import numpy as np
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from model.compiled import Floats

FASTEST = 2.0  # times the larger step beside a frame that its speed may cover in the longer time beside it


def interpolate(times: Floats, values: Floats, wanted: Floats) -> Floats:
    """Vectors [T, ..., D] at increasing times [T], T of 2 or more, at the times `wanted` [...] between them.

    A natural cubic spline. Between two frames at almost the same time it would take noise for a speed and be
    led far away by it: where speeds do not fit the steps beside a frame, they are those between the frames
    before and after it (Catmull and Rom 1974).
    """
    start, duration = times[0], times[-1] - times[0]
    at, wanted = (times - start) / duration, (wanted - start) / duration
    natural = CubicSpline(at, values, bc_type="natural")
    speed = natural(at, 1)  # [T, ..., D]
    step = np.linalg.norm(np.diff(values, axis=0), axis=-1)  # [T - 1, ...]
    lasting = _beside(np.diff(at)).reshape(-1, *[1] * (step.ndim - 1))  # [T, 1, ...]
    wild = np.linalg.norm(speed, axis=-1) * lasting > FASTEST * _beside(step)  # [T, ...]
    if not wild.any():
        return np.asarray(natural(wanted))
    frames = np.arange(len(at))
    before, after = (frames - 1).clip(0), (frames + 1).clip(max=len(at) - 1)
    across = (at[after] - at[before]).reshape(-1, *[1] * (values.ndim - 1))  # [T, 1, ...]
    speed = np.where(wild[..., None], (values[after] - values[before]) / across, speed)
    return np.asarray(CubicHermiteSpline(at, values, speed)(wanted))


def _beside(steps: Floats) -> Floats:
    """The larger one of the steps [T - 1, ...] before and after each frame: [T, ...]."""
    return np.asarray(np.maximum(np.concatenate([steps[:1], steps]), np.concatenate([steps, steps[-1:]])))
