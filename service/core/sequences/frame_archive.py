"""Formats 3 and 4: an archive with one file per frame, in the natural order of their names."""

import tempfile
from typing import BinaryIO, cast

import numpy as np

from service.core.sequences.archives import Archive, Budget
from service.core.sequences.arrays import CHUNK_VALUES, ArrayStream
from service.core.sequences.checks import LARGEST, PointScan
from service.core.sequences.errors import SequenceError, refusal
from service.core.sequences.formats import FRAME_READERS
from service.core.sequences.listing import Listing
from service.core.sequences.named_arrays import FRAME_KEYS, NamedArrays
from service.core.sequences.names import suffix_of
from service.core.sequences.readers.cameras import read_intrinsics
from service.core.sequences.readers.depth import MAX_POINTS, DepthReader, NothingSeenError
from service.core.sequences.readers.frame import NOTHING, Frame, FrameReader
from service.core.sequences.reading import Reading
from service.core.sequences.surfaces import SurfaceSampler
from service.core.sequences.times import times_of_names

MAX_FAULTS = 20  # stop checking frame archives after this many faults
_SPOOL_BYTES = 2 << 20  # larger frame archives go to a temporary file


def read_frames(archive: Archive, budget: Budget, reading: Reading) -> None:
    """Read every frame. Errors of single frames are gathered, up to MAX_FAULTS of them."""
    listing = Listing(archive.names)
    reading.faults += listing.faults
    if listing.faults:
        return
    reading.check_limit(reading.limits.max_frames, len(listing.frames), "file", "frames")
    read = _reader(archive, listing, reading.limits.max_points // max(len(listing.frames), 1))
    sampler = SurfaceSampler(reading.options.sample)
    for index, name in enumerate(listing.frames):
        if len(reading.faults) >= MAX_FAULTS:
            found = f"{index} frames checked"
            reading.fault("file", "has further errors that are not listed", found, "valid frames")
            return
        try:
            if archive.open(name).size == 0:  # whoever wrote it had no points
                reading.add_frame(NOTHING, index, name)
            elif read is None:
                _read_npz(archive, name, index, budget, reading)
            else:
                _read_file(archive, name, index, read, sampler, reading)
        except SequenceError as error:
            if error.code == "too_large":
                raise
            reading.faults += error.faults
    if not reading.faults:
        reading.check_lengths(False)
        reading.times = times_of_names(listing.frames, reading.options.fps)
        if listing.suffix == ".png":
            reading.corresponding = False  # a pixel does not stay on one particle, even where little moves


def _reader(archive: Archive, listing: Listing, most: int) -> FrameReader | None:
    """How frames of this format are read; None for those that are archives themselves.

    Of depth images, the points are chosen so that those of all frames are within the limit: `most` of each.
    """
    if listing.suffix == ".png":
        camera = read_intrinsics(archive.open(listing.intrinsics))
        return DepthReader(camera, min(MAX_POINTS, most))
    return FRAME_READERS.get(listing.suffix)


def _read_file(
    archive: Archive, name: str, index: int, read: FrameReader, sampler: SurfaceSampler, reading: Reading
) -> None:
    entry = archive.open(name)
    before = sum(reading.lengths)
    try:
        frame = read(entry, reading.limits.max_points - before)
    except NothingSeenError as error:
        reading.nothing += error.faults
        frame = NOTHING
    if frame.faces is not None and not np.isfinite(frame.points).all():
        row = int(np.flatnonzero(~np.isfinite(frame.points).all(axis=1))[0])
        raise refusal(
            "invalid_sequence", entry.key, "has an invalid vertex", f"vertex {row}", "finite numbers"
        )
    frame = sampler.points_of(frame)
    reading.check_limit(reading.limits.max_points, before + len(frame.points), "file", "points in total")
    reading.add_frame(frame, index, entry.key)


def _read_npz(archive: Archive, name: str, index: int, budget: Budget, reading: Reading) -> None:
    """An archive of one frame's arrays."""
    entry = archive.open(name)
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as inner:
        for start in range(0, entry.size, CHUNK_VALUES):
            inner.write(entry.read(min(CHUNK_VALUES, entry.size - start)))
        entry.finish()
        arrays = Archive(cast(BinaryIO, inner), budget, 8 * reading.limits.max_entries, key=name)
        _read_arrays(arrays, index, reading)


def _read_arrays(archive: Archive, index: int, reading: Reading) -> None:
    """`points` [N, 3], in the world `loc + scale * points` if there are `loc` [3] and `scale`."""
    placed = not {"loc.npy", "scale.npy"}.isdisjoint(archive.names)
    required = ("points", "loc", "scale") if placed else ("points",)
    arrays = NamedArrays(archive, reading, FRAME_KEYS, required, ignore_unknown=True)
    points = arrays.shaped("points", ("N", 3))
    loc, scale = arrays.shaped("loc", (3,)), arrays.shaped("scale", (), (1,))
    colors, normals = arrays.like("colors", points), arrays.like("normals", points)
    if not points or (placed and not (loc and scale)):
        return
    rows = points.shape[0]
    total = sum(reading.lengths) + rows
    reading.check_limit(reading.limits.max_points, total, "file", "points in total")
    scan = reading.scan([rows], points.dtype, index)
    if loc and scale:
        _place(scan, loc, scale, reading)
    reading.colored += colors is not None
    cloud = reading.read_points(points, scan, [rows])
    color_rows, normal_rows = reading.read_rows(colors), reading.read_rows(normals)
    if cloud is None or reading.store is None or reading.faults:
        return
    if placed:
        # float64, since float32 would lose the detail of a cloud far from the origin
        cloud = scan.loc + scan.scale * cloud.astype(np.float64)  # [N, 3]
    normals32 = None if normal_rows is None else normal_rows.astype(np.float32)
    reading.store.add(Frame(cloud, color_rows, normals32))


def _place(scan: PointScan, loc: ArrayStream, scale: ArrayStream, reading: Reading) -> None:
    """Set where the points of a published frame lie."""
    place, size = loc.read().astype(np.float64), float(scale.read().item())
    if np.all(np.abs(place) <= LARGEST):
        scan.loc = place
    else:
        reading.fault(loc.key, "is not a valid position", str(place), "three finite numbers")
    if 1 / LARGEST <= size <= LARGEST:
        scan.scale = size
    else:
        reading.fault(scale.key, "is not a valid scale", f"{size:g}", "a positive finite number")


def is_frame_archive(names: list[str]) -> bool:
    """Whether an archive holds files of frames, rather than the arrays of one sequence."""
    suffixes = {suffix_of(name) for name in names}
    if suffixes & ({*FRAME_READERS, ".npz", ".png"} - {".npy"}):
        return True
    return ".npy" in suffixes and all(any(c.isdigit() for c in n) for n in names if suffix_of(n) == ".npy")
