"""Times of frames, in seconds, from numbers.

0.ply, 1.ply, 2.ply, 13.ply     →  0, 1, 2 and 13 frames of 1/fps, or 1/24 where nothing says it
1305031102.175304.png, …        →  seconds
1616161616123456789.pcd, …      →  nanoseconds since 1970, as ROS names files
"""

import math
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.names import frame_numbers

UNTIMED_FPS = 24.0  # as `model.meshes.playback` plays sequences without times
_DECIMAL = re.compile(r"\d{1,18}\.\d{1,9}", re.ASCII)
# Seconds since 1970 have 10 digits; times are in another unit from these magnitudes on.
_UNITS = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3))
_NO_TIME = 10**20  # numbers from here on are neither times nor counts, but order frames all the same


def times_of_names(names: Sequence[str], fps: float | None) -> NDArray[np.float64] | None:
    """Times [T] in seconds of frames with these names, in order; None if the names say nothing."""
    stems = [PurePosixPath(name).stem for name in names]
    if all(_DECIMAL.fullmatch(stem) for stem in stems):
        parts = [stem.split(".") for stem in stems]
        nanoseconds = [int(whole) * 10**9 + int(part.ljust(9, "0")) for whole, part in parts]
        times = np.array([(value - nanoseconds[0]) / 1e9 for value in nanoseconds], np.float64)
        return times if (np.diff(times) > 0).all() else None
    numbers = frame_numbers(names)
    return None if numbers is None else times_of_numbers(numbers, fps)


def times_of_numbers(numbers: Sequence[int], fps: float | None) -> NDArray[np.float64] | None:
    """Times [T] in seconds of frames with these increasing numbers; None if they merely count the frames.

    With `fps`, or where numbers are missing, they count frames, `fps` of them a second. Their greatest common
    step counts as one, so that every fifth frame of a recording is as good as every frame.
    """
    if numbers[-1] >= _NO_TIME:
        return None
    if numbers[0] >= _UNITS[-1][0]:
        return seconds_since_first(list(numbers))
    step = math.gcd(*(number - numbers[0] for number in numbers)) or 1
    counts = np.array([(number - numbers[0]) // step for number in numbers], np.float64)
    if not fps and counts[-1] == len(counts) - 1:
        return None
    return counts / (fps or UNTIMED_FPS)


def seconds_since_first(times: Any) -> NDArray[np.float64]:
    """Times [T] in seconds. Those too large for seconds since 1970 are milli-, micro- or nanoseconds since
    then; these are counted from the first, since float64 could not tell them apart."""
    values = times if isinstance(times, list) else np.asarray(times).tolist()
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) == len(values) > 0:
        for least, per_second in _UNITS:
            if least <= min(finite) and max(finite) < 1000 * least:
                return np.array([(value - values[0]) / per_second for value in values], np.float64)
    return np.array(values, np.float64)
