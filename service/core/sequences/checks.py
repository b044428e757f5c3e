"""What makes a moving point cloud usable: the checks that the type and the reader of uploads share."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.arrays import CHUNK_VALUES, ArrayStream
from service.core.sequences.errors import Fault

MIN_FRAMES = 2
MIN_POINTS = 32
LARGEST = 1e18  # of any number: squares of coordinates still fit float32
MIN_STEPS = 100  # of its own precision that the first frame's longest side must span
_USABLE = f"finite numbers up to {LARGEST:g}"


class PointScan:
    """Checks coordinates fed piece by piece: finite, in range, and a first frame that fills a box.

    `lengths` holds the points of each frame, None where they are not known; `dtype` is the precision the
    values were stored in. They stand in the world at `loc + scale * value`. `frame` numbers the first frame.
    """

    def __init__(self, lengths: list[int] | None, dtype: np.dtype[Any], frame: int = 0) -> None:
        self.loc: NDArray[np.float64] = np.zeros(3)
        self.scale = 1.0
        self._frame = frame
        self._first = lengths[0] if lengths and frame == 0 else 0
        self._starts = None if lengths is None else np.cumsum([0, *lengths])
        self._precision = float(np.finfo(dtype).eps)
        self._low, self._high = np.full(3, np.inf), np.full(3, -np.inf)  # [3], box of the first frame
        self._largest = 0.0
        self._bad = 0
        self._worst: tuple[int, str] = (0, "")

    def feed_rows(self, cloud: NDArray[Any], row: int) -> None:
        """Points [N, 3] held in memory, the first of them being `row`."""
        for start in range(0, len(cloud), CHUNK_VALUES // 3):
            piece = cloud[start : start + CHUNK_VALUES // 3]
            self._box(*((piece[: max(0, self._first - row - start), axis], axis) for axis in range(3)))
            self._range(piece.ravel(), partial(_row_in_memory, row + start))

    def feed(self, stream: ArrayStream, start: int, values: NDArray[Any]) -> None:
        """A piece of `stream`, as its `chunks` gives it."""
        if self._first and (stream.fortran or start < 3 * self._first):
            rows, axes = stream.rows_and_columns(np.arange(start, start + len(values)))
            self._box(*((values[(rows < self._first) & (axes == axis)], axis) for axis in range(3)))
        self._range(values, lambda flat: stream.rows_and_columns(start + flat)[0])

    def faults(self, key: str) -> list[Fault]:
        if self._bad:
            row, value = self._worst
            found = f"{value} in {self._place(row)}"
            found += f", and {self._bad - 1:,} more" if self._bad > 1 else ""
            return [Fault(key, "holds a coordinate that is not a usable number", found, _USABLE)]
        farthest = np.abs(self.loc).max() + self.scale * self._largest
        if farthest > LARGEST:
            return [Fault(key, "lies too far out, placed by loc and scale", f"{farthest:g}", _USABLE)]
        return self._box_faults(key) if self._first else []

    def _box(self, *columns: tuple[NDArray[Any], int]) -> None:
        for values, axis in columns:
            if values.size:
                self._low[axis] = min(self._low[axis], values.min())
                self._high[axis] = max(self._high[axis], values.max())

    def _range(self, values: NDArray[Any], row_of: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> None:
        largest = float(max(-values.min(), values.max()))
        if largest <= LARGEST:  # false for NaN
            self._largest = max(self._largest, largest)
            return
        bad = np.flatnonzero(~(np.abs(values) <= LARGEST))
        rows = row_of(bad)
        first = int(rows.argmin())
        if not self._bad or rows[first] < self._worst[0]:
            self._worst = int(rows[first]), f"{values[bad[first]]:g}"
        self._bad += len(bad)

    def _place(self, row: int) -> str:
        if self._starts is None:
            return f"row {row} of all"
        frame = int(np.searchsorted(self._starts, row, side="right")) - 1
        return f"frame {self._frame + frame}, row {row - self._starts[frame]}"

    def _box_faults(self, key: str) -> list[Fault]:
        side = float((self._high - self._low).max())
        step = self._precision * max(np.abs(self._low).max(), np.abs(self._high).max())
        corners = self.loc + self.scale * np.stack([self._low, self._high])  # [2, 3]
        world_step = float(np.finfo(np.float64).eps) * np.abs(corners).max()
        if side * self.scale < 1 / LARGEST:
            found, wanted = f"a longest side of {side * self.scale:g}", "points that fill a box"
            return [Fault(key, "has all points of the first frame in one place", found, wanted)]
        if side < MIN_STEPS * step or side * self.scale < MIN_STEPS * world_step:
            found = f"a longest side of {side * self.scale:g} at {np.abs(corners).max():g} from the origin"
            wanted = f"at least {MIN_STEPS} steps of its precision: coordinates nearer to 0, or float64"
            return [Fault(key, "has a first frame lost in rounding", found, wanted)]
        return []


def _row_in_memory(first: int, flat: NDArray[np.int64]) -> NDArray[np.int64]:
    return first + flat // 3


def length_faults(lengths: Sequence[int], corresponding: bool) -> list[Fault]:
    """Faults of the points in each frame: enough frames, enough points, equal where rows correspond."""
    faults = []
    if len(lengths) < MIN_FRAMES:
        faults.append(Fault("points", "is no sequence", f"{len(lengths)} frames", f"at least {MIN_FRAMES}"))
    if short := [index for index, length in enumerate(lengths) if length < MIN_POINTS]:
        found = f"{lengths[short[0]]} points in frame {short[0]}"
        found += f", and {len(short) - 1} more such frames" if len(short) > 1 else ""
        faults.append(Fault("points", "has too few points", found, f"at least {MIN_POINTS} in every frame"))
    if corresponding and len(set(lengths)) > 1:
        found = f"frames of {min(lengths)} to {max(lengths)} points"
        faults.append(Fault("corresponding", "cannot hold", found, "frames of one size, or False"))
    return faults


def time_faults(times: NDArray[np.float64], frames: int) -> list[Fault]:
    """Faults of the time stamps [T]: one a frame, finite, increasing."""
    if times.shape != (frames,):
        return [Fault("times", "has the wrong shape", str(list(times.shape)), f"[{frames}]")]
    unusable = np.flatnonzero(~(np.abs(times) <= LARGEST))
    if unusable.size:
        found = f"{times[unusable[0]]:g} at frame {unusable[0]}"
        return [Fault("times", "holds a value that is not a usable number", found, _USABLE)]
    falling = np.flatnonzero(np.diff(times) <= 0)
    if falling.size:
        index = int(falling[0])
        found = f"{times[index + 1]:g} after {times[index]:g} at frame {index + 1}"
        return [Fault("times", "does not increase", found, "each time later than the one before")]
    return []
