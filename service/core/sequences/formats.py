"""Formats of the frames of a per-frame upload, with one reader module each.

Published frames (.npz), which include position and scale, are read by `SequenceReader` itself.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.archives import EntryReader
from service.core.sequences.xyz import read_xyz

# Reads points [N, 3] from an entry, stopping once the given limit is exceeded. Raises SequenceError with
# `entry.key`. The caller validates the values.
FrameReader = Callable[[EntryReader, int], NDArray[np.float32] | NDArray[np.float64]]

FRAME_READERS: Mapping[str, FrameReader] = {
    ".xyz": read_xyz,
}
PUBLISHED = re.compile(r"\d{8}\.npz", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
WANTED = f"unique names such as 00000017.npz, or names ending in {', '.join(FRAME_READERS)}"


def suffix_of(name: str) -> str:
    return PurePath(name).suffix


def is_frame(name: str) -> bool:
    if suffix_of(name) == ".npz":
        return PUBLISHED.fullmatch(name) is not None
    return suffix_of(name) in FRAME_READERS and _NAME.fullmatch(name) is not None


def natural_order(name: str) -> list[str | int]:
    """A key that sorts frame2 before frame10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
