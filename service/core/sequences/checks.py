"""Checks on moving point clouds, shared by `PointCloudSequence` and the upload reader."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.arrays import CHUNK_VALUES, ArrayStream
from service.core.sequences.errors import Fault

MIN_FRAMES = 2
MIN_POINTS = 32
MIN_VALID = 16  # of points that are valid in a frame, where rows may be the same particles in all frames
LARGEST = 1e18  # maximum magnitude of any number, so that squared coordinates fit in float32
CLOSEST = 1e-12  # of the duration: closer times are one, as far as their digits tell
MIN_STEPS = 100  # minimum extent of the first frame in units of its floating-point spacing
_VALID = f"finite numbers of magnitude up to {LARGEST:g}"
_VALID_OR_DROPPED = f"{_VALID}, or the option cleanup drop_invalid, which leaves such points out"


class PointScan:
    """Checks coordinates fed in pieces: finite, in range, and a first frame with enough precision.

    `lengths` is the number of points in each frame, or None if unknown; `dtype` is the stored precision.
    World coordinates are `loc + scale * value`. `frame` is the index of the first of them; `is_first` tells
    whether none before had enough points, in different places. With `drop_invalid` points may be invalid.
    """

    def __init__(
        self,
        lengths: list[int] | None,
        dtype: np.dtype[Any],
        frame: int = 0,
        *,
        is_first: bool = True,
        drop_invalid: bool = False,
    ) -> None:
        self.loc: NDArray[np.float64] = np.zeros(3)
        self.scale = 1.0
        self._frame = frame
        self._starts = None if lengths is None else np.cumsum([0, *lengths])
        self._first = 0, 0  # rows of the first frame with enough points, from and up to which
        self._number = next((n for n, length in enumerate(lengths or []) if length >= MIN_POINTS), 0)
        if is_first and usable_sizes(lengths or []) and self._starts is not None:
            self._first = int(self._starts[self._number]), int(self._starts[self._number + 1])
        self._precision = float(np.finfo(dtype).eps)
        self._low, self._high = np.full(3, np.inf), np.full(3, -np.inf)  # [3], bounds of the first frame
        self._largest = 0.0
        self._range = np.inf, -np.inf  # of all coordinates
        self._bad = 0
        self._worst: tuple[int, str] = (0, "")
        # One flag a row, once there is an invalid one.
        self._dropped: NDArray[np.bool_] | None = None
        self._drop_invalid = drop_invalid

    def feed_rows(self, cloud: NDArray[Any], row: int) -> None:
        """Feed points [N, 3] in memory, starting at row `row`."""
        for start in range(0, len(cloud), CHUNK_VALUES // 3):
            piece = cloud[start : start + CHUNK_VALUES // 3]
            begin, end = (max(0, bound - row - start) for bound in self._first)
            self._update_bounds(*((piece[begin:end, axis], axis) for axis in range(3)))
            self._check_range(piece.ravel(), partial(_row_in_memory, row + start))

    def feed(self, stream: ArrayStream, start: int, values: NDArray[Any]) -> None:
        """Feed a chunk of `stream`."""
        begin, end = self._first
        if begin < end and (stream.fortran or 3 * begin - len(values) < start < 3 * end):
            rows, axes = stream.rows_and_columns(np.arange(start, start + len(values)))
            inside = (rows >= begin) & (rows < end)
            self._update_bounds(*((values[inside & (axes == axis)], axis) for axis in range(3)))
        self._check_range(values, lambda flat: stream.rows_and_columns(start + flat)[0])

    def faults(self, key: str) -> list[Fault]:
        if self._bad and not self._drop_invalid:
            row, value = self._worst
            found = f"{value} in {self._location(row)}"
            found += f", and {self._bad - 1:,} more" if self._bad > 1 else ""
            return [Fault(key, "contains an invalid coordinate", found, _VALID_OR_DROPPED)]
        farthest = np.abs(self.loc).max() + self.scale * self._largest
        if farthest > LARGEST:
            return [Fault(key, "is out of range after applying loc and scale", f"{farthest:g}", _VALID)]
        bounded = np.isfinite(self._low).all() and not self._in_one_place
        return self._extent_faults(key) if bounded else []

    def nothing(self, key: str) -> list[Fault]:
        """Why the first frame shows nothing, if so: no fault if others do."""
        if not self._in_one_place:
            return []
        wanted = f"points at different positions, at least {1 / LARGEST:g} apart"
        return [Fault(key, "has a first frame without extent", "a longest side of 0", wanted)]

    @property
    def _in_one_place(self) -> bool:
        """Whether all points of the first frame are: some write zeros for what was not found."""
        return bool((self._low == self._high).all())

    def _update_bounds(self, *columns: tuple[NDArray[Any], int]) -> None:
        for column, axis in columns:
            values = column[np.abs(column) <= LARGEST] if self._drop_invalid else column
            if values.size:
                self._low[axis] = min(self._low[axis], values.min())
                self._high[axis] = max(self._high[axis], values.max())

    def _check_range(
        self, values: NDArray[Any], row_of: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    ) -> None:
        low, high = float(values.min()), float(values.max())
        self._range = min(self._range[0], low), max(self._range[1], high)
        largest = max(-low, high)
        if largest <= LARGEST:  # false for NaN
            self._largest = max(self._largest, largest)
            return
        valid = np.abs(values) <= LARGEST
        bad = np.flatnonzero(~valid)
        rows = row_of(bad)
        if self._drop_invalid:
            self._largest = max(self._largest, float(np.abs(values[valid]).max(initial=0)))
            if self._starts is not None:
                if self._dropped is None:
                    self._dropped = np.zeros(self._starts[-1], bool)
                self._dropped[rows] = True
        first = int(rows.argmin())
        if not self._bad or rows[first] < self._worst[0]:
            self._worst = int(rows[first]), f"{values[bad[first]]:g}"
        self._bad += len(bad)

    @property
    def valid(self) -> list[int]:
        """Points of each frame that are not invalid; those in one place are one, as far as that is known."""
        if self._starts is None:
            return []
        lengths = np.diff(self._starts)  # [T]
        if self._dropped is not None:
            frames = np.searchsorted(self._starts, np.flatnonzero(self._dropped), side="right") - 1
            lengths = lengths - np.bincount(frames, minlength=len(lengths))
        if self._in_one_place:
            same = slice(None) if self._range[0] == self._range[1] else self._number
            lengths[same] = lengths[same].clip(max=1)
        return [int(length) for length in lengths]

    def _location(self, row: int) -> str:
        if self._starts is None:
            return f"row {row} overall"
        frame = int(np.searchsorted(self._starts, row, side="right")) - 1
        return f"frame {self._frame + frame}, row {row - self._starts[frame]}"

    def _extent_faults(self, key: str) -> list[Fault]:
        side = float((self._high - self._low).max())
        step = self._precision * max(np.abs(self._low).max(), np.abs(self._high).max())
        corners = self.loc + self.scale * np.stack([self._low, self._high])  # [2, 3]
        world_step = float(np.finfo(np.float64).eps) * np.abs(corners).max()
        if side * self.scale < 1 / LARGEST:
            found = f"a longest side of {side * self.scale:g}"
            wanted = f"points at different positions, at least {1 / LARGEST:g} apart"
            return [Fault(key, "has a first frame without extent", found, wanted)]
        if side < MIN_STEPS * step or side * self.scale < MIN_STEPS * world_step:
            found = f"a longest side of {side * self.scale:g} at {np.abs(corners).max():g} from the origin"
            wanted = f"at least {MIN_STEPS} rounding steps: move the coordinates closer to 0, or use float64"
            return [Fault(key, "has too little precision for its first frame", found, wanted)]
        return []


def _row_in_memory(first: int, flat: NDArray[np.int64]) -> NDArray[np.int64]:
    return first + flat // 3


def length_faults(lengths: Sequence[int], corresponding: bool | None, key: str = "points") -> list[Fault]:
    """Check the number of frames, their points, and equal sizes for corresponding rows.

    Frames with too few points count as missing: the motion is interpolated there.
    """
    faults = []
    if len(lengths) < MIN_FRAMES:
        found = "1 frame" if len(lengths) == 1 else f"{len(lengths)} frames"
        faults.append(Fault(key, "has too few frames", found, f"at least {MIN_FRAMES}"))
    faults += _point_faults(lengths, lengths, MIN_POINTS, key, "points")
    sizes = usable_sizes(lengths)
    if corresponding and len(sizes) > 1:
        found = f"frames of {min(sizes)} to {max(sizes)} points"
        wanted = "the same number of points in every frame, or False"
        faults.append(Fault("corresponding", "requires frames of equal size", found, wanted))
    return faults


def valid_faults(
    lengths: Sequence[int], valid: Sequence[int], key: str = "points", nothing: Sequence[Fault] = ()
) -> list[Fault]:
    """Check that some frames of these lengths have enough points that are `valid`.

    `nothing` are reasons why frames show nothing, the first of which is told if too few frames are left.
    """
    least = MIN_VALID if len(usable_sizes(lengths)) == 1 else MIN_POINTS
    faults = _point_faults(lengths, valid, least, key, "valid points")
    return [*nothing[:1]] or faults if faults else []


def usable_sizes(lengths: Sequence[int]) -> set[int]:
    """The numbers of points of frames that have enough of them."""
    return {length for length in lengths if length >= MIN_POINTS}


def has_gaps(lengths: Sequence[int]) -> bool:
    """Whether all frames are of one size but those with too few points, so that their rows may correspond."""
    return len(usable_sizes(lengths)) == 1 and min(lengths) < MIN_POINTS


def _point_faults(
    lengths: Sequence[int], counts: Sequence[int], least: int, key: str, points: str
) -> list[Fault]:
    short = [index for index, count in enumerate(counts) if count < least]
    if not short or len(counts) - len(short) >= MIN_FRAMES:
        return []
    count, length = counts[short[0]], lengths[short[0]]
    found = f"{count:,} {points}{f' of {length:,}' if counts is not lengths else ''} in frame {short[0]}"
    found += f", and {len(short) - 1} more such frames" if len(short) > 1 else ""
    wanted = f"at least {least} in {MIN_FRAMES} frames or more"
    return [Fault(key, f"has too few {points}", found, wanted)]


def time_faults(times: NDArray[np.float64], frames: int) -> list[Fault]:
    """Check the time stamps [T]: one per frame, finite and strictly increasing."""
    if times.shape != (frames,):
        return [Fault("times", "has the wrong shape", str(list(times.shape)), f"[{frames}]")]
    invalid = np.flatnonzero(~(np.abs(times) <= LARGEST))
    if invalid.size:
        found = f"{times[invalid[0]]:g} at frame {invalid[0]}"
        return [Fault("times", "contains an invalid value", found, _VALID)]
    close = np.flatnonzero(np.diff(times) <= CLOSEST * (times[-1:] - times[:1]))
    if close.size:
        index = int(close[0])
        before, after = times[index : index + 2].tolist()  # of seconds since 1970 all digits matter
        found = f"{after} after {before} at frame {index + 1}"
        wanted = f"increasing times, at least {CLOSEST:g} of the duration apart"
        message = "is not strictly increasing" if after <= before else "has times too close together"
        return [Fault("times", message, found, wanted)]
    return []
