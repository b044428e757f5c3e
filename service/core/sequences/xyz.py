"""XYZ frames: text with one point per line."""

from collections.abc import Iterator
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.archives import EntryReader
from service.core.sequences.errors import quoted, refusal

_BLOCK = 1 << 18  # bytes
_LONGEST_LINE = 4096  # bytes


def read_xyz(entry: EntryReader, most: int) -> NDArray[np.float64]:
    """Points [N, 3], at most one more than `most`: x y z on each line; further columns are ignored.

    `#` begins a comment. Raises SequenceError.
    """
    rows = islice(_rows(entry), most + 1)
    first = next(rows, None)
    if first is None:
        return np.empty((0, 3))
    try:
        return np.loadtxt(chain([first], rows), usecols=(0, 1, 2), ndmin=2)
    except ValueError as error:
        told = quoted(str(error))
        raise refusal("invalid_sequence", entry.key, "is not a list of points", told, "x y z") from None


def _rows(entry: EntryReader) -> Iterator[str]:
    """Lines that hold more than a comment."""
    for line in _lines(entry):
        if row := line.partition(b"#")[0].strip():
            yield row.decode("ascii", "replace")


def _lines(entry: EntryReader) -> Iterator[bytes]:
    rest = b""
    for start in range(0, entry.size, _BLOCK):
        *lines, rest = (rest + entry.read(min(_BLOCK, entry.size - start))).split(b"\n")
        yield from lines
        if len(rest) > _LONGEST_LINE:
            found = f"more than {_LONGEST_LINE} bytes"
            raise refusal("invalid_sequence", entry.key, "has an overlong line", found, "x y z on each line")
    entry.finish()
    yield rest
