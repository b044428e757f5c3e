"""Moving point clouds and functions to read them from uploads.

`inspect_sequence` validates an upload in bounded memory; `read_sequence` also returns its points.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.checks import PointScan, has_gaps, length_faults, time_faults, valid_faults
from service.core.sequences.errors import DEFAULT_LIMITS, Fault, Limits, SequenceError
from service.core.sequences.packing import pack_frames
from service.core.sequences.read_options import DEFAULT_OPTIONS, ReadOptions, Sample
from service.core.sequences.reader import SequenceInfo, SequenceReader, evenly_spaced, store_sequence
from service.core.sequences.readers.frame import Points
from service.core.sequences.stores import MemoryStore

__all__ = [
    "DEFAULT_LIMITS",
    "Fault",
    "Limits",
    "PointCloudSequence",
    "ReadOptions",
    "Sample",
    "SequenceError",
    "SequenceInfo",
    "evenly_spaced",
    "inspect_sequence",
    "pack_frames",
    "read_sequence",
    "store_sequence",
]


@dataclass(frozen=True, eq=False)
class PointCloudSequence:
    """A moving point cloud in the caller's units.

    `points` has one float32 or float64 array [N_i, 3] per frame; `times` [T] float64 is strictly increasing;
    with `corresponding`, row j is the same particle in every frame; None leaves it to be found out. `colors`,
    uint8 [N_i, 3], and `normals`, float32 [N_i, 3], belong to the rows of `points`; None if there are none.
    With `drop_invalid` points may hold NaN: they keep their rows, but are no part of it.
    Raises SequenceError with all faults.
    """

    points: tuple[Points, ...]
    times: NDArray[np.float64]
    corresponding: bool | None
    timed: bool = True  # whether the times are the input's own
    colors: tuple[NDArray[np.uint8], ...] | None = None
    normals: tuple[NDArray[np.float32], ...] | None = None
    drop_invalid: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple(map(np.asarray, self.points)))
        object.__setattr__(self, "times", np.asarray(self.times, np.float64))
        faults = []
        wanted = "float32 or float64 arrays [N, 3]"
        for index, cloud in enumerate(self.points):
            if cloud.dtype not in (np.float32, np.float64) or cloud.shape[1:] != (3,):
                found = f"{cloud.dtype} {list(cloud.shape)} in frame {index}"
                faults.append(Fault("points", "has a frame of the wrong type or shape", found, wanted))
        if not faults:
            faults += length_faults(self.points_per_frame, self.corresponding)
        if not faults:
            scan = PointScan(
                list(self.points_per_frame), self.points[0].dtype, drop_invalid=self.drop_invalid
            )
            for start, cloud in zip(np.cumsum([0, *self.points_per_frame]), self.points, strict=False):
                scan.feed_rows(cloud, int(start))
            faults += scan.faults("points") or valid_faults(
                self.points_per_frame, scan.valid, nothing=scan.nothing("points")
            )
        faults += time_faults(self.times, len(self.points))
        for name, dtype in (("colors", np.uint8), ("normals", np.float32)):
            rows = getattr(self, name)
            if rows is not None and [(r.dtype, r.shape) for r in rows] != [
                (dtype, p.shape) for p in self.points
            ]:
                wanted = f"{np.dtype(dtype).name} arrays of the shapes of points"
                faults.append(Fault(name, "do not fit the points", f"{len(rows)} arrays", wanted))
        if faults:
            raise SequenceError("invalid_sequence", faults)

    @property
    def frames(self) -> int:
        return len(self.points)

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the last."""
        return float(self.times[-1] - self.times[0])

    @property
    def points_per_frame(self) -> tuple[int, ...]:
        return tuple(len(cloud) for cloud in self.points)

    def save(self, path_or_file: str | Path | BinaryIO) -> None:
        """Write an .npz file for `read_sequence`. Equal sequences give identical bytes."""
        if isinstance(path_or_file, str | Path):
            with Path(path_or_file).open("wb") as file:
                return self.save(file)
        arrays: dict[str, Any] = {"times": self.times} if self.timed else {}
        join: Any = np.stack if len(set(self.points_per_frame)) == 1 else np.concatenate
        for name in ("points", "colors", "normals"):
            if (rows := getattr(self, name)) is not None:
                arrays[name] = join(rows)  # [T, N, 3] or [M, 3]
        if join is np.concatenate:
            arrays["lengths"] = np.array(self.points_per_frame)
        if self.corresponding is not None and (join is np.stack or has_gaps(self.points_per_frame)):
            arrays["corresponding"] = np.bool_(self.corresponding)
        np.savez_compressed(path_or_file, **arrays)
        return None


def inspect_sequence(
    file: BinaryIO, limits: Limits = DEFAULT_LIMITS, options: ReadOptions = DEFAULT_OPTIONS
) -> SequenceInfo:
    """Validate an upload with bounded memory. Raises SequenceError."""
    return SequenceReader(file, limits, None, options).info


def read_sequence(
    file: BinaryIO, limits: Limits = DEFAULT_LIMITS, options: ReadOptions = DEFAULT_OPTIONS
) -> PointCloudSequence:
    """Validate an upload like `inspect_sequence` and return its points in world coordinates."""
    store = MemoryStore()
    reader = SequenceReader(file, limits, store, options)
    colors, normals = store.colors, store.normals
    return PointCloudSequence(
        tuple(store.clouds),
        reader.times,
        reader.info.corresponding,
        reader.timed,
        None if colors is None else tuple(colors),
        None if normals is None else tuple(normals),
        options.drop_invalid,
    )
