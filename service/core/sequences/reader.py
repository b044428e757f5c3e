"""Reading and validation of uploads in one pass.

Apart from the points to be kept, memory use is bounded: archives are read entry by entry, arrays in chunks,
and frame archives through a temporary file.
"""

from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.archives import Archive, Budget
from service.core.sequences.array_archive import read_arrays
from service.core.sequences.errors import Limits, SequenceError, megabytes, refusal
from service.core.sequences.formats import FRAME_READERS, suffix_of
from service.core.sequences.frame_archive import read_frames
from service.core.sequences.reading import Points, Reading


@dataclass(frozen=True)
class SequenceInfo:
    """Summary of an upload. `points` is the number per frame, or its minimum and maximum."""

    frames: int
    points: int | tuple[int, int]
    total_points: int
    duration: float  # seconds, from the first frame to the last
    corresponding: bool | None  # None: not said
    dtype: str
    bytes: int


def evenly_spaced(frames: int) -> NDArray[np.float64]:
    """Default times [T]: from 0 for the first frame to 1 for the last."""
    return np.linspace(0.0, 1.0, frames)


class SequenceReader:
    """Validates an upload in one pass and, with `keep`, stores its points. Raises SequenceError."""

    def __init__(self, file: BinaryIO, limits: Limits, keep: bool) -> None:
        size = file.seek(0, SEEK_END)
        if size > limits.max_bytes:
            wanted = f"at most {megabytes(limits.max_bytes)}"
            raise refusal("too_large", "file", "is too large", megabytes(size), wanted)
        reading, budget = Reading(limits, keep), Budget(limits, size)
        archive = Archive(file, budget, max(limits.max_entries, limits.max_frames))
        if any(suffix_of(name) in (".npz", *FRAME_READERS) for name in archive.names):
            read_frames(archive, budget, reading)
        else:
            read_arrays(archive, reading)
        if reading.faults:
            raise SequenceError("invalid_sequence", reading.faults)
        fewest, most = min(reading.lengths), max(reading.lengths)
        self.clouds: list[Points] = reading.clouds
        self.timed = reading.times is not None
        self.times = evenly_spaced(len(reading.lengths)) if reading.times is None else reading.times
        self.info = SequenceInfo(
            frames=len(reading.lengths),
            points=most if fewest == most else (fewest, most),
            total_points=sum(reading.lengths),
            duration=float(self.times[-1] - self.times[0]),
            corresponding=reading.corresponding if fewest == most else False,
            dtype=reading.dtype.name,
            bytes=size,
        )
