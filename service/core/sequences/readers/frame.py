"""What a reader gets and what it returns: the bytes of one file, and the frame in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.errors import SequenceError, megabytes, quoted, refusal

Points = NDArray[np.float32] | NDArray[np.float64]

MAX_BYTES = 64 << 20  # of one binary file: a million points with colors and normals take 27 MB
MAX_FACES = 4_000_000  # of one mesh
_BLOCK_BYTES = 1 << 18
_MAX_LINE_BYTES = 1 << 16


class Source(Protocol):
    """A file that is read once from start to end; an entry of an archive, or a file on disk."""

    key: str  # its name in faults
    size: int

    def read(self, count: int) -> bytes | bytearray:
        """Exactly `count` bytes. Raises SequenceError if there are fewer."""

    def finish(self) -> None:
        """Check that nothing is left."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame as its file holds it, not yet checked.

    `points` [N, 3] float32 or float64; `colors` [N, 3] uint8; `normals` [N, 3] float32; `faces` [F, 3] int32,
    whose values are rows of `points`, if the frame is a mesh.
    """

    points: Points
    colors: NDArray[np.uint8] | None = None
    normals: NDArray[np.float32] | None = None
    faces: NDArray[np.int32] | None = None


NOTHING = Frame(  # it has all the colors and normals that its points could have
    np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8), np.empty((0, 3), np.float32)
)

# Reads a frame of at most the given number of points. Raises SequenceError with `source.key`: too_large
# beyond that number, before memory for the points is allocated.
FrameReader = Callable[[Source, int], Frame]


class FileSource:
    """A file on disk."""

    def __init__(self, path: Path) -> None:
        self.key, self.size = str(path), path.stat().st_size
        self._file = path.open("rb")

    def read(self, count: int) -> bytes:
        return self._file.read(count)

    def finish(self) -> None:
        self._file.close()


class BytesSource:
    """A file in memory."""

    def __init__(self, data: bytes, key: str) -> None:
        self.key, self.size = key, len(data)
        self._data, self._start = data, 0

    def read(self, count: int) -> bytes:
        self._start += count
        return self._data[self._start - count : self._start]

    def finish(self) -> None:
        pass


def read_whole(source: Source, taken: int = 0, limit: int = MAX_BYTES) -> bytes:
    """All bytes of a binary file, or the rest after `taken` bytes."""
    if source.size > limit:
        raise too_large(source, megabytes(source.size), f"at most {megabytes(limit)} in one frame")
    data = bytes(source.read(source.size - taken))
    source.finish()
    return data


def read_lines(source: Source, begun: bytes = b"", taken: int = 0) -> Iterator[bytes]:
    """The lines of a text file, one block of it in memory at a time.

    `taken` bytes have been read already, and of these the last, `begun`, belong to the lines.
    """
    rest, left = begun, source.size - taken
    while rest or left:
        count = min(_BLOCK_BYTES, left)
        left -= count
        block = (rest + source.read(count)).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = block.split(b"\n")
        yield from lines
        if len(rest) > _MAX_LINE_BYTES:
            raise invalid(
                source, "has an overlong line", f"more than {_MAX_LINE_BYTES:,} bytes", "short lines"
            )
        if not left:
            break
    source.finish()
    yield rest


def coordinates(values: NDArray[Any]) -> Points:
    """Coordinates in float32 if it holds them exactly by their type, else in float64."""
    if values.dtype.kind == "f" and values.dtype.itemsize <= 4:
        return np.ascontiguousarray(values, np.float32)
    return np.ascontiguousarray(values, np.float64)


def check_count(source: Source, count: int, limit: int, item_bytes: int = 0, room: int = 0) -> None:
    """Refuse more points than the limit, or than `room` bytes hold with `item_bytes` for each."""
    if count > limit:
        raise too_large(source, f"{count:,} points", f"at most {limit:,} points in total")
    if count < 0 or count * item_bytes > room:
        found = f"{count:,} declared in {room:,} bytes"
        raise invalid(source, "is truncated or declares too many items", found, "the complete file")


def invalid(source: Source, message: str, found: str, wanted: str) -> SequenceError:
    return refusal("invalid_sequence", source.key, message, found, wanted)


def too_large(source: Source, found: str, wanted: str) -> SequenceError:
    return refusal("too_large", source.key, "is too large", found, wanted)


def whole_number(source: Source, text: bytes) -> int:
    """A count in a header. Raises SequenceError unless it is a plain number."""
    if not (text.isdigit() and len(text) < 16):
        raise invalid(source, "has an invalid count", quoted(text.decode("latin-1")), "a whole number")
    return int(text)


def bytes_of(colors: NDArray[Any]) -> NDArray[np.uint8]:
    """Colors as bytes: whole numbers up to 255 or 65535 by their type, and others from 0 to 1."""
    if colors.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            colors = np.nan_to_num(np.clip(colors, 0, 1) * 255).round()
    elif colors.dtype.itemsize > 1:
        colors = np.clip(colors, 0, 65535) >> 8 if colors.dtype.itemsize == 2 else np.clip(colors, 0, 255)
    narrow: NDArray[np.uint8] = colors.astype(np.uint8)
    return narrow
