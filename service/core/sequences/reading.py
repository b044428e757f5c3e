"""What has been read of an upload so far: its frames, their checks, and the faults that were found."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.arrays import ArrayStream
from service.core.sequences.checks import LARGEST, PointScan, length_faults, usable_sizes, valid_faults
from service.core.sequences.errors import Fault, Limits, refusal
from service.core.sequences.read_options import DEFAULT_OPTIONS, ReadOptions
from service.core.sequences.readers.frame import NOTHING, Frame
from service.core.sequences.stores import FrameStore


@dataclass
class Reading:
    """The state of one pass over an upload; frames go to `store`, if there is one."""

    limits: Limits
    store: FrameStore | None
    options: ReadOptions = DEFAULT_OPTIONS
    lengths: list[int] = field(default_factory=list)  # points in each frame
    valid: list[int] = field(default_factory=list)  # those that are not invalid
    colored: int = 0  # frames with colors
    times: NDArray[np.float64] | None = None
    corresponding: bool | None = None
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float16))  # widest stored type
    faults: list[Fault] = field(default_factory=list)
    nothing: list[Fault] = field(default_factory=list)  # why frames show nothing: no faults if others do

    def check_limit(self, limit: int, found: int, key: str, unit: str) -> None:
        if found > limit:
            raise refusal("too_large", key, f"has too many {unit}", f"{found:,}", f"at most {limit:,}")

    def fault(self, key: str, message: str, found: str, wanted: str) -> None:
        self.faults.append(Fault(key, message, found, wanted))

    def scan(self, lengths: list[int] | None, dtype: np.dtype[Any], frame: int = 0) -> PointScan:
        """Checks of the points of frames from number `frame` on, as `PointScan`."""
        is_first = not usable_sizes(self.valid)
        return PointScan(lengths, dtype, frame, is_first=is_first, drop_invalid=self.options.drop_invalid)

    def read_points(self, stream: ArrayStream, scan: PointScan, lengths: list[int]) -> NDArray[Any] | None:
        """Read and check points, `lengths` of them in each frame: rows [M, 3] if they are valid and kept."""
        dtype = np.dtype(np.float64 if stream.dtype.itemsize == 8 else np.float32)
        flat = np.empty(stream.size if self.store else 0, dtype)
        with np.errstate(invalid="ignore"):  # invalid values are reported as faults
            for start, values in stream.chunks():
                wide = values.astype(dtype, copy=False)
                scan.feed(stream, start, wide)
                if self.store:
                    flat[start : start + len(wide)] = self._marked(wide)
        self._record(scan, stream.key, lengths, stream.dtype)
        return _rows(flat, stream) if self.store and not self.faults else None

    def read_rows(self, stream: ArrayStream | None) -> NDArray[Any] | None:
        """Read what belongs to the points, such as colors: rows [M, 3] if they are kept.

        They have to be finite, unless points may be invalid.
        """
        if stream is None:
            return None
        flat = np.empty(stream.size if self.store else 0, stream.dtype)
        finite = True
        for start, values in stream.chunks():
            finite &= values.dtype.kind != "f" or bool(np.isfinite(values).all())
            if self.store:
                flat[start : start + len(values)] = values
        if not finite and not self.options.drop_invalid:
            self.fault(stream.key, "contains an invalid value", "NaN or infinity", "finite numbers")
        return _rows(flat, stream) if self.store and not self.faults else None

    def add_frame(self, frame: Frame, index: int, key: str) -> None:
        """Check frame number `index`, and store it unless there are faults."""
        if not len(frame.points):
            frame = NOTHING
        scan = self.scan([len(frame.points)], frame.points.dtype, index)
        with np.errstate(invalid="ignore"):
            scan.feed_rows(frame.points, 0)
        self._record(scan, key, [len(frame.points)], frame.points.dtype)
        self.colored += frame.colors is not None
        if self.store and not self.faults:
            self.store.add(replace(frame, points=self._marked(frame.points)))

    def _marked(self, values: NDArray[Any]) -> NDArray[Any]:
        """Coordinates, with NaN for those that are invalid if such points are to be left out."""
        if not self.options.drop_invalid:
            return values
        return np.where(np.abs(values) <= LARGEST, values, values.dtype.type(np.nan))

    def check_lengths(self, corresponding: bool | None, key: str = "points") -> None:
        """Check the numbers of points of all frames, once they are read."""
        faults = length_faults(self.lengths, corresponding, key) or valid_faults(
            self.lengths, self.valid, key
        )
        self.faults += self.nothing[:1] or faults if faults else []

    def _record(self, scan: PointScan, key: str, lengths: list[int], dtype: np.dtype[Any]) -> None:
        self.faults += scan.faults(key)
        self.nothing += scan.nothing(key)
        self.valid += scan.valid
        self.lengths += lengths
        self.dtype = max(self.dtype, dtype, key=lambda dtype: dtype.itemsize)


def _rows(flat: NDArray[Any], stream: ArrayStream) -> NDArray[Any]:
    """Values of a stream, in the order of its file, as rows [M, 3]."""
    values = flat.reshape(stream.shape, order=stream.order)  # [T, N, 3] or [M, 3]
    return np.ascontiguousarray(values.reshape(-1, 3))
