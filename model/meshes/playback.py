"""How fast a clip plays in a file, whatever the times of the motion."""

import numpy as np
from numpy.typing import NDArray

from model.errors import InputError

# Input frames per second where their times are unknown. Blender's default, so each is on a whole frame there.
UNTIMED_FPS = 24.0


def playback_times(
    times: NDArray[np.float64],
    input_times: NDArray[np.float64],
    *,
    timed: bool = True,
    duration: float | None = None,
    playback_fps: float | None = None,
) -> NDArray[np.float64]:
    """Seconds from the start of a clip at which output frames of `times` [K] play: [K].

    The input, of `input_times` [T], takes `duration` seconds, or plays at `playback_fps` frames per second on
    average; by default in real time, or at `UNTIMED_FPS` if it is not `timed`. Proportions are kept. Raises
    InputError if both are given or one is not positive.
    """
    if duration is not None and playback_fps is not None:
        raise InputError("both duration and playback_fps are given; wanted one of them")
    for name, value in (("duration", duration), ("playback_fps", playback_fps)):
        if value is not None and not 0 < value < np.inf:
            raise InputError(f"{name} is {value:g}; wanted a number above 0")
    span = float(input_times[-1] - input_times[0])
    if duration is None:
        real_time = timed and playback_fps is None
        duration = span if real_time else (len(input_times) - 1) / (playback_fps or UNTIMED_FPS)
    return np.asarray((times - input_times[0]) * (duration / span))
