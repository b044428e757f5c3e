"""Formats 1 and 2: one archive with the arrays of the whole sequence."""

import numpy as np

from service.core.sequences.archives import Archive
from service.core.sequences.arrays import ArrayStream
from service.core.sequences.checks import PointScan, length_faults, time_faults
from service.core.sequences.named_arrays import SEQUENCE_KEYS, NamedArrays
from service.core.sequences.reading import Reading


def read_arrays(archive: Archive, reading: Reading) -> None:
    """Read `points` [T, N, 3], or `points` [M, 3] with `frame` [M] or `lengths` [T]."""
    limits = reading.limits
    reading.check_limit(limits.max_entries, len(archive.names), "file", "entries")
    arrays = NamedArrays(archive, reading, SEQUENCE_KEYS, required=("points",))
    ragged = not {"frame.npy", "lengths.npy"}.isdisjoint(archive.names)
    points = arrays.shaped("points", ("M", 3) if ragged else ("T", "N", 3))
    rows = points.size // 3 if points else None
    reading.check_limit(limits.max_points, rows or 0, "points", "points in total")
    lengths: list[int] | None = None
    if points and not ragged:
        reading.check_limit(limits.max_frames, points.shape[0], "points", "frames")
        lengths = [points.shape[1]] * points.shape[0]
    elif ragged:
        lengths = _ragged_lengths(arrays, reading, rows)
    if flag := arrays.shaped("corresponding", (), (1,)):
        reading.corresponding = bool(flag.read().any())
    if ragged:
        if reading.corresponding:
            reading.fault("corresponding", "cannot be combined with frame or lengths", "True", "False")
        reading.corresponding = False
    if lengths is not None:
        reading.faults += length_faults(lengths, False)
    if times := arrays.shaped("times", ("T" if lengths is None else len(lengths),)):
        reading.check_limit(limits.max_frames, times.size, "times", "frames")
        reading.times = times.read().astype(np.float64)
        reading.faults += time_faults(reading.times, len(reading.times))
    if points:
        reading.scan(points, PointScan(lengths, points.dtype), lengths or [])


def _ragged_lengths(arrays: NamedArrays, reading: Reading, rows: int | None) -> list[int] | None:
    """Points in each frame, from `frame` or `lengths`; None, and a fault, if they are not valid."""
    if "frame" in arrays and "lengths" in arrays:
        reading.fault("frame", "cannot be combined with lengths", "both", "only one of them")
    elif frame := arrays.shaped("frame", (rows or "M",)):
        return _count_frames(frame, reading)
    elif stream := arrays.shaped("lengths", ("T",)):
        reading.check_limit(reading.limits.max_frames, stream.size, "lengths", "frames")
        lengths: list[int] = stream.read().tolist()
        if rows is None or (sum(lengths) == rows and min(lengths, default=0) >= 0):
            return lengths
        found, wanted = f"{sum(lengths):,}", f"{rows:,}, the number of rows in points"
        reading.fault("lengths", "do not add up to the number of points", found, wanted)
    return None


def _count_frames(stream: ArrayStream, reading: Reading) -> list[int] | None:
    """Points in each frame, from frame numbers [M] that must be sorted and consecutive from 0."""
    counts = np.zeros(reading.limits.max_frames, np.int64)
    previous = 0
    for start, values in stream.chunks():
        numbers = values.astype(np.int64)
        steps = np.diff(numbers, prepend=previous)
        wrong = (steps != 0) & (steps != 1)
        wrong[0] |= start == 0 and numbers[0] != 0
        if wrong.any():
            row = int(wrong.argmax())
            before = f" after {numbers[row - 1] if row else previous}" if start + row else ""
            found = f"frame {numbers[row]}{before} in row {start + row}"
            wanted = "consecutive frame numbers from 0, rows sorted by frame"
            reading.fault("frame", "is not consecutive", found, wanted)
            return None
        reading.check_limit(reading.limits.max_frames, int(numbers[-1]) + 1, "frame", "frames")
        counts += np.bincount(numbers, minlength=len(counts))
        previous = int(numbers[-1])
    return [int(count) for count in counts[: previous + 1]]
