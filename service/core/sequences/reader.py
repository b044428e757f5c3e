"""Reading and validation of uploads in one pass.

Apart from the frames to be kept, memory use is bounded: archives are read entry by entry, arrays in chunks,
frame archives through a temporary file, and frames in other formats one after the other.
"""

import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.animated import read_animation
from service.core.sequences.archives import Archive, Budget
from service.core.sequences.array_archive import read_arrays
from service.core.sequences.checks import usable_sizes
from service.core.sequences.depth_archive import is_depth_archive, read_depth_arrays
from service.core.sequences.errors import Limits, SequenceError, megabytes, refusal
from service.core.sequences.frame_archive import is_frame_archive, read_frames
from service.core.sequences.names import is_litter
from service.core.sequences.read_options import DEFAULT_OPTIONS, ReadOptions
from service.core.sequences.reading import Reading
from service.core.sequences.single_files import refuse_single_file
from service.core.sequences.stores import DiskStore, FrameStore

_SPOOL_BYTES = 2 << 20


@dataclass(frozen=True)
class SequenceInfo:
    """Summary of an upload. `points` is the number per frame, or its minimum and maximum."""

    frames: int
    points: int | tuple[int, int]
    total_points: int
    duration: float  # seconds, from the first frame to the last
    corresponding: bool | None  # None: not said
    colors: bool  # of all points
    dtype: str
    bytes: int


def evenly_spaced(frames: int, fps: float | None = None) -> NDArray[np.float64]:
    """Default times [T] from 0, `fps` frames a second; without it the last frame is at 1."""
    return np.arange(frames) / fps if fps else np.linspace(0.0, 1.0, frames)


class SequenceReader:
    """Validates an upload in one pass; its frames go to `store`. Raises SequenceError.

    `is_stored_form` tells whether the file is as `DiskStore` writes one.
    """

    def __init__(
        self, file: BinaryIO, limits: Limits, store: FrameStore | None, options: ReadOptions = DEFAULT_OPTIONS
    ) -> None:
        size = file.seek(0, SEEK_END)
        if size > limits.max_bytes:
            wanted = f"at most {megabytes(limits.max_bytes)}"
            raise refusal("too_large", "file", "is too large", megabytes(size), wanted)
        reading, budget = Reading(limits, store, options), Budget(limits, size)
        self.is_stored_form = False
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
            file.seek(0)
            head = file.read(64)
            if head.startswith(b"glTF"):
                read_animation(file, reading)
            else:
                self._read_archive(file, head, cast(BinaryIO, spool), reading, budget)
        if reading.faults:
            raise SequenceError("invalid_sequence", reading.faults)
        fewest, most = min(reading.lengths), max(reading.lengths)
        rate = None if self.is_stored_form else options.fps
        self.timed = reading.times is not None or rate is not None
        even = evenly_spaced(len(reading.lengths), rate)
        self.times = even if reading.times is None else reading.times
        self.info = SequenceInfo(
            frames=len(reading.lengths),
            points=most if fewest == most else (fewest, most),
            total_points=sum(reading.lengths),
            duration=float(self.times[-1] - self.times[0]),
            corresponding=reading.corresponding if len(usable_sizes(reading.lengths)) == 1 else False,
            colors=reading.colored == len(reading.lengths),
            dtype=reading.dtype.name,
            bytes=size,
        )

    def _read_archive(
        self, file: BinaryIO, head: bytes, spool: BinaryIO, reading: Reading, budget: Budget
    ) -> None:
        is_array = head.startswith(b"\x93NUMPY")
        if is_array:
            file = _as_archive(file, spool)
        elif not head.startswith((b"PK\3\4", b"PK\5\6")):
            refuse_single_file(head)
        archive = Archive(file, budget, reading.limits.max_files)
        if is_frame_archive([name for name in archive.names if not is_litter(name)]):
            read_frames(archive, budget, reading)
            return
        if is_depth_archive(archive.names):
            read_depth_arrays(archive, reading)
            return
        self.is_stored_form = not is_array
        if isinstance(reading.store, DiskStore) and self.is_stored_form:
            reading.store = None  # the file is kept as it is
        read_arrays(archive, reading)


def _as_archive(file: BinaryIO, out: BinaryIO) -> BinaryIO:
    """One array [T, N, 3] as the archive of a sequence."""
    file.seek(0)
    with zipfile.ZipFile(out, "w") as archive, archive.open(zipfile.ZipInfo("points.npy"), "w") as entry:
        shutil.copyfileobj(file, entry, 1 << 18)
    return out


def store_sequence(
    file: BinaryIO, out: BinaryIO, limits: Limits, options: ReadOptions = DEFAULT_OPTIONS
) -> tuple[SequenceInfo, BinaryIO]:
    """Validate an upload in bounded memory; returns the file to keep, in the form that DiskStore writes.

    That is `file` itself if it has this form already, else `out`. Raises SequenceError.
    """
    with DiskStore() as store:
        reader = SequenceReader(file, limits, store, options)
        if reader.is_stored_form:
            return reader.info, file
        store.write(out, reader.times if reader.timed else None, reader.info.corresponding)
    return reader.info, out
