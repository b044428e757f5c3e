"""Formats 1 and 2: one archive with the arrays of the whole sequence."""

import numpy as np

from service.core.sequences.archives import Archive
from service.core.sequences.arrays import ArrayStream
from service.core.sequences.checks import has_gaps, length_faults, time_faults, valid_faults
from service.core.sequences.named_arrays import SEQUENCE_KEYS, NamedArrays
from service.core.sequences.readers.frame import Frame
from service.core.sequences.reading import Reading
from service.core.sequences.times import seconds_since_first, times_of_numbers


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
    if ragged and not has_gaps(lengths or []):
        if reading.corresponding:
            reading.fault("corresponding", "cannot be combined with frame or lengths", "True", "False")
        reading.corresponding = False
    if lengths is not None:
        reading.faults += length_faults(lengths, False)
    if times := arrays.shaped("times", ("T" if lengths is None else len(lengths),)):
        reading.check_limit(limits.max_frames, times.size, "times", "frames")
        reading.times = seconds_since_first(times.read())
        reading.faults += time_faults(reading.times, len(reading.times))
    _read_frames(reading, arrays, points, lengths)


def _read_frames(
    reading: Reading, arrays: NamedArrays, points: ArrayStream | None, lengths: list[int] | None
) -> None:
    """Read points, colors and normals, and store them frame by frame."""
    colors, normals = arrays.like("colors", points), arrays.like("normals", points)
    if points is None:
        return
    reading.colored = len(lengths or []) if colors else 0
    rows = reading.read_points(points, reading.scan(lengths, points.dtype), lengths or [])  # [M, 3]
    if not reading.faults:
        reading.faults += valid_faults(reading.lengths, reading.valid, nothing=reading.nothing)
    color_rows, normal_rows = reading.read_rows(colors), reading.read_rows(normals)
    if rows is None or reading.store is None or lengths is None or reading.faults:
        return
    ends = np.cumsum(lengths).tolist()
    for start, end in zip([0, *ends], ends, strict=False):
        reading.store.add(
            Frame(
                rows[start:end],
                None if color_rows is None else color_rows[start:end].astype(np.uint8),
                None if normal_rows is None else normal_rows[start:end].astype(np.float32),
            )
        )


def _ragged_lengths(arrays: NamedArrays, reading: Reading, rows: int | None) -> list[int] | None:
    """Points in each frame, from `frame` or `lengths`; None, and a fault, if they are not valid."""
    if "frame" in arrays and "lengths" in arrays:
        reading.fault("frame", "cannot be combined with lengths", "both", "only one of them")
    elif frame := arrays.shaped("frame", (rows or "M",)):
        return _count_frames(frame, reading)
    elif stream := arrays.shaped("lengths", ("T",)):
        reading.check_limit(reading.limits.max_frames, stream.size, "lengths", "frames")
        lengths: list[int] = stream.read().tolist()
        if min(lengths, default=0) < 0:
            index = lengths.index(min(lengths))
            reading.fault(
                "lengths", "contains a negative number", f"{lengths[index]:,} at frame {index}", "0 or more"
            )
            return None
        if rows is None or sum(lengths) == rows:
            return lengths
        found, wanted = f"{sum(lengths):,}", f"{rows:,}, the number of rows in points"
        reading.fault("lengths", "do not add up to the number of points", found, wanted)
    return None


def _count_frames(stream: ArrayStream, reading: Reading) -> list[int] | None:
    """Points in each frame, from sorted frame numbers [M]; where numbers are missing, so are their times."""
    counts: dict[int, int] = {}
    previous: int | None = None
    for start, values in stream.chunks():
        steps = np.flatnonzero(values[1:] < values[:-1])
        if steps.size or (previous is not None and int(values[0]) < previous):
            row = int(steps[0]) + 1 if steps.size else 0
            before = int(values[row - 1]) if row else previous
            found = f"frame {int(values[row])} after {before} in row {start + row}"
            reading.fault("frame", "is not in order", found, "rows sorted by their frame numbers")
            return None
        present, rows = np.unique(values, return_counts=True)
        for number, count in zip(present.tolist(), rows.tolist(), strict=True):
            counts[number] = counts.get(number, 0) + count
        reading.check_limit(reading.limits.max_frames, len(counts), "frame", "frames")
        previous = int(values[-1])
    numbers = list(counts)
    if numbers:
        reading.times = times_of_numbers(numbers, None)
    return list(counts.values())
