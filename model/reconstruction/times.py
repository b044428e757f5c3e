"""Times of a reconstruction: input times, output times, and the uniform times that encoders expect."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.errors import InputError

LATEST = 1e30  # beyond which differences may be no numbers
CLOSEST = 1e-12  # of the duration: closer times are one, as far as their digits tell


def check_times(times: ArrayLike | None, count: int) -> NDArray[np.float64]:
    """Validated times [T] of `count` frames; evenly spaced over one second by default. Raises InputError."""
    if times is None:
        return np.linspace(0, 1, count)
    wanted = f"wanted {count} finite, increasing numbers"
    try:
        stamps = np.asarray(times, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"times are not numbers; {wanted}") from None
    if stamps.shape != (count,):
        raise InputError(f"times are an array {list(stamps.shape)}; {wanted}")
    if not (np.abs(stamps) <= LATEST).all():
        raise InputError(f"times are {_short(stamps)}; {wanted}, none beyond {LATEST:.0e}")
    close = np.flatnonzero(np.diff(stamps) <= CLOSEST * (stamps[-1] - stamps[0]))
    if close.size:
        before, after = stamps[close[0] : close[0] + 2].tolist()  # of seconds since 1970 all digits matter
        raise InputError(
            f"frame {close[0] + 1} is at {after} s, after one at {before} s; {wanted}, at least "
            f"{CLOSEST:.0e} of the duration apart"
        )
    return stamps


def frame_times(times: NDArray[np.float64], frames: int | None, fps: float | None) -> NDArray[np.float64]:
    """Output times [K]: those of the input, or `frames` evenly spaced ones, or one every 1 / `fps` seconds.

    Raises InputError for values out of range, or if both are given.
    """
    first, last = times[0], times[-1]
    if frames is not None and fps is not None:
        raise InputError("both frames and fps are given; wanted one of them")
    if frames is not None:
        if frames < 2:
            raise InputError(f"frames is {frames}; wanted 2 or more")
        return np.linspace(first, last, frames)
    if fps is not None:
        # Slightly more than the duration, so that rounding does not drop the last frame.
        intervals = (last - first) * fps * (1 + 1e-9)
        if not 1 <= intervals < np.inf:
            raise InputError(
                f"fps is {fps:g}, the input lasts {last - first:g} s; wanted 2 or more output frames"
            )
        return np.asarray(first + np.arange(int(intervals) + 1) / fps)
    return times


def resample(inputs: NDArray[np.float32], times: NDArray[np.float64]) -> NDArray[np.float32]:
    """Interpolate trajectories [T, N, 3] linearly at evenly spaced times, on which encoders are trained."""
    uniform = np.linspace(times[0], times[-1], len(times))
    if np.allclose(times, uniform, rtol=0, atol=1e-6 * (times[-1] - times[0])):
        return inputs
    after = np.searchsorted(times, uniform).clip(1, len(times) - 1)  # [T]
    weight = (uniform - times[after - 1]) / (times[after] - times[after - 1])
    steps = weight[:, None, None] * (inputs[after] - inputs[after - 1])
    return np.asarray(inputs[after - 1] + steps, dtype=np.float32)


def _short(values: NDArray[np.float64]) -> str:
    return np.array2string(values, threshold=6, edgeitems=3, precision=6)
