"""What has been read of an upload so far: its points, their checks, and the faults that were found."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.arrays import ArrayStream
from service.core.sequences.checks import PointScan
from service.core.sequences.errors import Fault, Limits, refusal

Points = NDArray[np.float32] | NDArray[np.float64]


@dataclass
class Reading:
    """The state of one pass over an upload; with `keep`, its points are stored in `clouds`."""

    limits: Limits
    keep: bool
    clouds: list[Points] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)  # points in each frame
    times: NDArray[np.float64] | None = None
    corresponding: bool | None = None
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float16))  # widest stored type
    faults: list[Fault] = field(default_factory=list)

    def check_limit(self, limit: int, found: int, key: str, unit: str) -> None:
        if found > limit:
            raise refusal("too_large", key, f"has too many {unit}", f"{found:,}", f"at most {limit:,}")

    def fault(self, key: str, message: str, found: str, wanted: str) -> None:
        self.faults.append(Fault(key, message, found, wanted))

    def scan(self, stream: ArrayStream, scan: PointScan, lengths: list[int]) -> None:
        """Read and check all points; with `keep`, add one cloud for each of `lengths`."""
        dtype = np.dtype(np.float64 if stream.dtype.itemsize == 8 else np.float32)
        flat = np.empty(stream.size if self.keep else 0, dtype)
        with np.errstate(invalid="ignore"):  # invalid values are reported as faults
            for start, values in stream.chunks():
                wide = values.astype(dtype, copy=False)
                scan.feed(stream, start, wide)
                if self.keep:
                    flat[start : start + len(wide)] = wide
        self._record(scan.faults(stream.key), lengths, stream.dtype)
        if self.keep and not self.faults:
            points = flat.reshape(stream.shape, order=stream.order)  # [T, N, 3] or [M, 3]
            rows = np.ascontiguousarray(points.reshape(-1, 3))
            self.clouds += np.split(rows, np.cumsum(lengths)[:-1])

    def add_frame(self, points: Points, index: int, key: str) -> None:
        """Check the points [N, 3] of frame `index`; with `keep`, store them."""
        scan = PointScan([len(points)], points.dtype, frame=index)
        with np.errstate(invalid="ignore"):
            scan.feed_rows(points, 0)
        self._record(scan.faults(key), [len(points)], points.dtype)
        if self.keep and not self.faults:
            self.clouds.append(points)

    def _record(self, faults: list[Fault], lengths: list[int], dtype: np.dtype[Any]) -> None:
        self.faults += faults
        self.lengths += lengths
        self.dtype = max(self.dtype, dtype, key=lambda dtype: dtype.itemsize)
