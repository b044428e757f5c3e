"""Formats 3 and 4: an archive with one file per frame, in the natural order of their names."""

import tempfile
from typing import BinaryIO, cast

import numpy as np

from service.core.sequences.archives import Archive, Budget, EntryReader
from service.core.sequences.arrays import CHUNK_VALUES
from service.core.sequences.checks import LARGEST, PointScan, length_faults
from service.core.sequences.errors import SequenceError, quoted
from service.core.sequences.formats import (
    FRAME_READERS,
    WANTED,
    FrameReader,
    is_frame,
    natural_order,
    suffix_of,
)
from service.core.sequences.named_arrays import FRAME_KEYS, NamedArrays
from service.core.sequences.reading import Reading

MAX_FAULTS = 20  # stop checking frame archives after this many faults
_SPOOL_BYTES = 2 << 20  # larger frame archives go to a temporary file


def read_frames(archive: Archive, budget: Budget, reading: Reading) -> None:
    """Read every frame. Errors of single frames are gathered, up to MAX_FAULTS of them."""
    if wrong := [name for name in archive.names if not is_frame(name)]:
        found = ", ".join(map(quoted, wrong[:3]))
        reading.fault("file", "contains files that are not frames", found, f"only {WANTED}")
        return
    if len(kinds := sorted({suffix_of(name) for name in archive.names})) > 1:
        reading.fault("file", "mixes formats", ", ".join(kinds), "frames of one format")
        return
    reading.check_limit(reading.limits.max_frames, len(archive.names), "file", "frames")
    for index, name in enumerate(sorted(archive.names, key=natural_order)):
        if len(reading.faults) >= MAX_FAULTS:
            found = f"{index} frames checked"
            reading.fault("file", "has further errors that are not listed", found, "valid frames")
            return
        try:
            if read := FRAME_READERS.get(suffix_of(name)):
                _read_points(archive.open(name), read, index, reading)
            else:
                _read_published(archive.open(name), name, index, budget, reading)
        except SequenceError as error:
            if error.code == "too_large":
                raise
            reading.faults += error.faults
    if not reading.faults:
        reading.faults += length_faults(reading.lengths, False)


def _read_points(entry: EntryReader, read: FrameReader, index: int, reading: Reading) -> None:
    """Format 4: a frame in one of FRAME_READERS."""
    before = sum(reading.lengths)
    points = read(entry, reading.limits.max_points - before)  # [N, 3]
    reading.check_limit(reading.limits.max_points, before + len(points), "file", "points in total")
    reading.add_frame(points, index, entry.key)


def _read_published(entry: EntryReader, name: str, index: int, budget: Budget, reading: Reading) -> None:
    """Format 3: an archive with `points` [N, 3], `loc` [3] and `scale`."""
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as inner:
        for start in range(0, entry.size, CHUNK_VALUES):
            inner.write(entry.read(min(CHUNK_VALUES, entry.size - start)))
        entry.finish()
        archive = Archive(cast(BinaryIO, inner), budget, reading.limits.max_entries, key=name)
        _read_placed(archive, index, reading)


def _read_placed(archive: Archive, index: int, reading: Reading) -> None:
    """Points of a published frame, moved to world coordinates: `loc + scale * points`."""
    arrays = NamedArrays(archive, reading, FRAME_KEYS, required=FRAME_KEYS)
    points = arrays.shaped("points", ("N", 3))
    loc, scale = arrays.shaped("loc", (3,)), arrays.shaped("scale", (), (1,))
    if not (points and loc and scale):
        return
    rows = points.shape[0]
    total = sum(reading.lengths) + rows
    reading.check_limit(reading.limits.max_points, total, "file", "points in total")
    scan = PointScan([rows], points.dtype, frame=index)
    place, size = loc.read().astype(np.float64), float(scale.read().item())
    if np.all(np.abs(place) <= LARGEST):
        scan.loc = place
    else:
        reading.fault(loc.key, "is not a valid position", str(place), "three finite numbers")
    if 1 / LARGEST <= size <= LARGEST:
        scan.scale = size
    else:
        reading.fault(scale.key, "is not a valid scale", f"{size:g}", "a positive finite number")
    reading.scan(points, scan, [rows])
    if reading.keep and not reading.faults:
        # float64, since float32 would lose the detail of a cloud far from the origin
        reading.clouds[-1] = scan.loc + scan.scale * reading.clouds[-1].astype(np.float64)  # [N, 3]
