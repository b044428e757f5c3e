"""Reading and validation of the three upload formats in one pass.

Apart from the points to be kept, memory use is bounded: archives are read entry by entry, arrays in chunks,
and frame archives through a temporary file.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from io import SEEK_END
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.archives import Archive, Budget, EntryReader
from service.core.sequences.arrays import CHUNK_VALUES, ArrayStream
from service.core.sequences.checks import LARGEST, PointScan, length_faults, time_faults
from service.core.sequences.errors import (
    DEFAULT_LIMITS,
    Fault,
    Limits,
    SequenceError,
    megabytes,
    quoted,
    refusal,
)
from service.core.sequences.formats import (
    FRAME_READERS,
    WANTED,
    FrameReader,
    is_frame,
    natural_order,
    suffix_of,
)

Points = NDArray[np.float32] | NDArray[np.float64]

MAX_FAULTS = 20  # stop checking frame archives after this many faults
_SPOOL_BYTES = 2 << 20  # larger frame archives go to a temporary file

# key: (accepted numpy dtype kinds, description)
_KEYS = {
    "points": ("f", "float16, float32 or float64"),
    "times": ("fiu", "numbers"),
    "corresponding": ("b", "bool"),
    "frame": ("iu", "integers"),
    "lengths": ("iu", "integers"),
    "loc": ("fiu", "numbers"),
    "scale": ("fiu", "numbers"),
}
_SEQUENCE_KEYS = ("points", "times", "corresponding", "frame", "lengths")
_FRAME_KEYS = ("points", "loc", "scale")


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
    """Validates an upload in one pass and, with `keep`, stores its points."""

    def __init__(self, file: BinaryIO, limits: Limits, keep: bool) -> None:
        size = file.seek(0, SEEK_END)
        if size > limits.max_bytes:
            wanted = f"at most {megabytes(limits.max_bytes)}"
            raise refusal("too_large", "file", "is too large", megabytes(size), wanted)
        self.clouds: list[Points] = []
        self.lengths: list[int] = []  # points in each frame
        self._times: NDArray[np.float64] | None = None
        self._corresponding: bool | None = None
        self.dtype: np.dtype[Any] = np.dtype(np.float16)  # widest stored type
        self._limits, self._keep, self._faults = limits, keep, list[Fault]()
        self._budget = Budget(limits, size)
        archive = Archive(file, self._budget, max(limits.max_entries, limits.max_frames))
        if any(suffix_of(name) in (".npz", *FRAME_READERS) for name in archive.names):
            self._read_frames(archive)
        else:
            self._read_arrays(archive)
        if self._faults:
            raise SequenceError("invalid_sequence", self._faults)
        fewest, most = min(self.lengths), max(self.lengths)
        self.times = evenly_spaced(len(self.lengths)) if self._times is None else self._times
        self.info = SequenceInfo(
            frames=len(self.lengths),
            points=most if fewest == most else (fewest, most),
            total_points=sum(self.lengths),
            duration=float(self.times[-1] - self.times[0]),
            corresponding=self._corresponding if fewest == most else False,
            dtype=self.dtype.name,
            bytes=size,
        )

    def _read_arrays(self, archive: Archive) -> None:
        """Formats 1 and 2: `points` [T, N, 3], or `points` [M, 3] with `frame` [M] or `lengths` [T]."""
        self._check_limit(self._limits.max_entries, len(archive.names), "file", "entries")
        arrays = self._open(archive, _SEQUENCE_KEYS, required=("points",))
        ragged = not {"frame.npy", "lengths.npy"}.isdisjoint(archive.names)
        points = self._shaped(arrays, "points", ("M", 3) if ragged else ("T", "N", 3))
        rows = points.size // 3 if points else None
        self._check_limit(self._limits.max_points, rows or 0, "points", "points in total")
        lengths: list[int] | None = None
        if points and not ragged:
            self._check_limit(self._limits.max_frames, points.shape[0], "points", "frames")
            lengths = [points.shape[1]] * points.shape[0]
        elif "frame" in arrays and "lengths" in arrays:
            self._fault("frame", "cannot be combined with lengths", "both", "only one of them")
        elif frame := self._shaped(arrays, "frame", (rows or "M",)):
            lengths = self._count_frames(frame)
        elif stream := self._shaped(arrays, "lengths", ("T",)):
            self._check_limit(self._limits.max_frames, stream.size, "lengths", "frames")
            lengths = stream.read().tolist()
            if rows is not None and (sum(lengths) != rows or min(lengths, default=0) < 0):
                found, wanted = f"{sum(lengths):,}", f"{rows:,}, the number of rows in points"
                self._fault("lengths", "do not add up to the number of points", found, wanted)
                lengths = None
        if flag := self._shaped(arrays, "corresponding", (), (1,)):
            self._corresponding = bool(flag.read().any())
        if ragged:
            if self._corresponding:
                self._fault("corresponding", "cannot be combined with frame or lengths", "True", "False")
            self._corresponding = False
        if lengths is not None:
            self._faults += length_faults(lengths, False)
        if times := self._shaped(arrays, "times", ("T" if lengths is None else len(lengths),)):
            self._check_limit(self._limits.max_frames, times.size, "times", "frames")
            self._times = times.read().astype(np.float64)
            self._faults += time_faults(self._times, len(self._times))
        if points:
            self._scan(points, PointScan(lengths, points.dtype), lengths or [])

    def _read_frames(self, archive: Archive) -> None:
        """Formats 3 and 4: one file per frame, in the natural order of their names."""
        if wrong := [name for name in archive.names if not is_frame(name)]:
            found = ", ".join(map(quoted, wrong[:3]))
            self._fault("file", "contains files that are not frames", found, f"only {WANTED}")
            return
        if len(kinds := sorted({suffix_of(name) for name in archive.names})) > 1:
            self._fault("file", "mixes formats", ", ".join(kinds), "frames of one format")
            return
        self._check_limit(self._limits.max_frames, len(archive.names), "file", "frames")
        for index, name in enumerate(sorted(archive.names, key=natural_order)):
            if len(self._faults) >= MAX_FAULTS:
                found = f"{index} frames checked"
                self._fault("file", "has further errors that are not listed", found, "valid frames")
                return
            try:
                if read := FRAME_READERS.get(suffix_of(name)):
                    self._read_points(archive.open(name), read, index)
                else:
                    self._read_published(archive.open(name), name, index)
            except SequenceError as error:
                if error.code == "too_large":
                    raise
                self._faults += error.faults
        if not self._faults:
            self._faults += length_faults(self.lengths, False)

    def _read_points(self, entry: EntryReader, read: FrameReader, index: int) -> None:
        """Format 4: a frame in one of FRAME_READERS."""
        before = sum(self.lengths)
        points = read(entry, self._limits.max_points - before)  # [N, 3]
        self._check_limit(self._limits.max_points, before + len(points), "file", "points in total")
        scan = PointScan([len(points)], points.dtype, frame=index)
        with np.errstate(invalid="ignore"):
            scan.feed_rows(points, 0)
        self._faults += scan.faults(entry.key)
        self.lengths.append(len(points))
        self.dtype = max(self.dtype, points.dtype, key=lambda dtype: dtype.itemsize)
        if self._keep and not self._faults:
            self.clouds.append(points)

    def _read_published(self, entry: EntryReader, name: str, index: int) -> None:
        """Format 3: an archive with `points` [N, 3], `loc` [3] and `scale`."""
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as inner:
            for start in range(0, entry.size, CHUNK_VALUES):
                inner.write(entry.read(min(CHUNK_VALUES, entry.size - start)))
            entry.finish()
            archive = Archive(cast(BinaryIO, inner), self._budget, self._limits.max_entries, key=name)
            self._read_frame(archive, index)

    def _read_frame(self, archive: Archive, index: int) -> None:
        arrays = self._open(archive, _FRAME_KEYS, required=_FRAME_KEYS)
        points = self._shaped(arrays, "points", ("N", 3))
        loc, scale = self._shaped(arrays, "loc", (3,)), self._shaped(arrays, "scale", (), (1,))
        if not (points and loc and scale):
            return
        rows = points.shape[0]
        self._check_limit(self._limits.max_points, sum(self.lengths) + rows, "file", "points in total")
        scan = PointScan([rows], points.dtype, frame=index)
        place, size = loc.read().astype(np.float64), float(scale.read().item())
        if np.all(np.abs(place) <= LARGEST):
            scan.loc = place
        else:
            self._fault(loc.key, "is not a valid position", str(place), "three finite numbers")
        if 1 / LARGEST <= size <= LARGEST:
            scan.scale = size
        else:
            self._fault(scale.key, "is not a valid scale", f"{size:g}", "a positive finite number")
        self._scan(points, scan, [rows])
        if self._keep and not self._faults:
            # float64, since float32 would lose the detail of a cloud far from the origin
            self.clouds[-1] = scan.loc + scan.scale * self.clouds[-1].astype(np.float64)  # [N, 3]

    def _open(
        self, archive: Archive, known: tuple[str, ...], required: tuple[str, ...]
    ) -> dict[str, ArrayStream]:
        """The arrays with valid headers; every other entry adds a fault."""
        arrays = {}
        for name in archive.names:
            key = name.removesuffix(".npy")
            if key not in known or key == name:
                wanted = ", ".join(known)
                if key == "occupancies":
                    wanted = "surface points: the files of pcl_seq, not of points_seq"
                elif key in _FRAME_KEYS:
                    wanted += "; a single frame is not a sequence: send a zip of frames such as 00000017.npz"
                self._fault(archive.key_of(key), "is not a recognized key", quoted(name), wanted)
                continue
            try:
                stream = ArrayStream(archive.open(name), archive.key_of(key))
            except SequenceError as error:
                self._faults += error.faults
                continue
            kinds, description = _KEYS[key]
            if stream.dtype.kind in kinds:
                arrays[key] = stream
            else:
                self._fault(stream.key, "has the wrong type", stream.dtype.name, description)
        for key in required:
            if f"{key}.npy" not in archive.names:
                found = ", ".join(map(quoted, archive.names[:8])) or "no array"
                self._fault(archive.key_of(key), "is missing", found, f"an array named {key}")
        return arrays

    def _shaped(
        self, arrays: dict[str, ArrayStream], key: str, *shapes: tuple[int | str, ...]
    ) -> ArrayStream | None:
        """The array if it has one of the shapes (letters match any size); otherwise None and a fault."""
        stream = arrays.get(key)
        if stream is None:
            return None
        for shape in shapes:
            if len(shape) == len(stream.shape) and all(
                size == found or isinstance(size, str)
                for size, found in zip(shape, stream.shape, strict=True)
            ):
                return stream
        wanted = " or ".join(
            f"[{', '.join(map(str, shape))}]" if shape else "a single value" for shape in shapes
        )
        if shapes == (("T", "N", 3),):
            wanted += ", or [M, 3] with frame or lengths"
        self._fault(stream.key, "has the wrong shape", str(list(stream.shape)), wanted)
        return None

    def _count_frames(self, stream: ArrayStream) -> list[int] | None:
        """Points in each frame, from frame numbers [M] that must be sorted and consecutive from 0."""
        counts = np.zeros(self._limits.max_frames, np.int64)
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
                self._fault("frame", "is not consecutive", found, wanted)
                return None
            self._check_limit(self._limits.max_frames, int(numbers[-1]) + 1, "frame", "frames")
            counts += np.bincount(numbers, minlength=len(counts))
            previous = int(numbers[-1])
        return [int(count) for count in counts[: previous + 1]]

    def _scan(self, stream: ArrayStream, scan: PointScan, lengths: list[int]) -> None:
        """Read and check all points; with `keep`, add one cloud for each of `lengths`."""
        dtype = np.dtype(np.float64 if stream.dtype.itemsize == 8 else np.float32)
        flat = np.empty(stream.size if self._keep else 0, dtype)
        with np.errstate(invalid="ignore"):  # invalid values are reported as faults
            for start, values in stream.chunks():
                wide = values.astype(dtype, copy=False)
                scan.feed(stream, start, wide)
                if self._keep:
                    flat[start : start + len(wide)] = wide
        self._faults += scan.faults(stream.key)
        self.lengths += lengths
        self.dtype = max(self.dtype, stream.dtype, key=lambda dtype: dtype.itemsize)
        if self._keep and not self._faults:
            points = flat.reshape(stream.shape, order=stream.order)  # [T, N, 3] or [M, 3]
            rows = np.ascontiguousarray(points.reshape(-1, 3))
            self.clouds += np.split(rows, np.cumsum(lengths)[:-1])

    def _check_limit(self, limit: int, found: int, key: str, unit: str) -> None:
        if found > limit:
            raise refusal("too_large", key, f"has too many {unit}", f"{found:,}", f"at most {limit:,}")

    def _fault(self, key: str, message: str, found: str, wanted: str) -> None:
        self._faults.append(Fault(key, message, found, wanted))


def pack_frames(
    parts: Iterable[tuple[str, BinaryIO]], out: BinaryIO, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Pack the individually uploaded files of a per-frame sequence into an uncompressed zip archive."""
    names: set[str] = set()
    total = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, part in parts:
            if not is_frame(name) or name in names:
                message = "has a duplicate frame name" if name in names else "has an invalid frame name"
                raise refusal("invalid_sequence", "file", message, quoted(name), WANTED)
            names.add(name)
            total += part.seek(0, SEEK_END)
            if total > limits.max_bytes or len(names) > limits.max_frames:
                found = f"{megabytes(total)} in {len(names)} files"
                wanted = f"at most {megabytes(limits.max_bytes)} in {limits.max_frames} files"
                raise refusal("too_large", "file", "is too large", found, wanted)
            part.seek(0)
            with archive.open(zipfile.ZipInfo(name), "w") as entry:  # fixed date, for reproducible bytes
                shutil.copyfileobj(part, entry)
