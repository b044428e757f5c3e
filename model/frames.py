"""Frames that stand for all of a sequence."""

import numpy as np
from numpy.typing import NDArray


def even_frames(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` of `count` frames, evenly chosen, in order, the first and the last among them: [F]."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))
