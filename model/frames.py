"""Frames that stand for all of a sequence, and what frames are called."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

NAMED = 6  # single frames and runs of frames in a message, at most


def even_frames(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` of `count` frames, evenly chosen, in order, the first and the last among them: [F]."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))


def named(frames: Iterable[int], step: int = 1) -> str:
    """Frames for people, with runs in short: "frame 3", "frames 3, 7 to 9".

    `step` is how far apart frames of a run may be, where not all have been looked at.
    """
    numbers = np.unique(np.fromiter(frames, np.int64))
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > step) + 1)
    long = [run[-1] - run[0] > 1 for run in runs]
    texts = [
        f"{run[0]} to {run[-1]}" if is_long else ", ".join(map(str, run))
        for run, is_long in zip(runs[:NAMED], long, strict=False)
    ]
    more = sum(map(len, runs[NAMED:]))
    return f"frame{'s'[: len(numbers) > 1]} {', '.join(texts)}" + (f" and {more} more" if more else "")
