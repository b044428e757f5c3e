"""Which points of frames to keep: masks, and how few points are enough."""

import numpy as np
from numpy.typing import NDArray

from model.compiled import Ints

LEAST_POINTS = 32  # of a frame
LEAST_VALID = 16  # of a frame whose rows are the same particles in others, which tell where the rest is


def keep_frames(kept: list[NDArray[np.bool_]], least: int) -> list[int]:
    """The frames whose masks [N_t] keep `least` points; masks of others are emptied."""
    for mask in kept:
        if mask.sum() < least:
            mask[:] = False
    return [t for t, mask in enumerate(kept) if mask.any()]


def drop(kept: list[NDArray[np.bool_]], flags: list[NDArray[np.bool_]], most: float = 1.0) -> Ints:
    """Take flagged points out of the masks of frames where they are at most a share `most`: how many, [T]."""
    counts = np.zeros(len(kept), np.int64)
    for number, (mask, flag) in enumerate(zip(kept, flags, strict=True)):
        if flag.mean() <= most and len(flag) - flag.sum() >= LEAST_POINTS:
            mask[np.flatnonzero(mask)[flag]] = False
            counts[number] = flag.sum()
    return counts
