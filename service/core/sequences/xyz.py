"""XYZ frames: text with one point per line."""

from collections.abc import Iterator
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.archives import EntryReader
from service.core.sequences.errors import quoted, refusal

_BLOCK_BYTES = 1 << 18
_MAX_LINE_BYTES = 4096


def read_xyz(entry: EntryReader, limit: int) -> NDArray[np.float64]:
    """Points [N, 3] from lines of x y z, stopping after `limit + 1` points. Further columns are ignored.

    `#` starts a comment. Raises SequenceError.
    """
    rows = islice(_rows(entry), limit + 1)
    first = next(rows, None)
    if first is None:
        return np.empty((0, 3))
    try:
        return np.loadtxt(chain([first], rows), usecols=(0, 1, 2), ndmin=2)
    except ValueError as error:
        found = quoted(str(error))
        raise refusal("invalid_sequence", entry.key, "is not a list of points", found, "x y z") from None


def _rows(entry: EntryReader) -> Iterator[str]:
    """Lines that are neither empty nor comments."""
    for line in _lines(entry):
        if row := line.partition(b"#")[0].strip():
            yield row.decode("ascii", "replace")


def _lines(entry: EntryReader) -> Iterator[bytes]:
    rest = b""
    for start in range(0, entry.size, _BLOCK_BYTES):
        *lines, rest = (rest + entry.read(min(_BLOCK_BYTES, entry.size - start))).split(b"\n")
        yield from lines
        if len(rest) > _MAX_LINE_BYTES:
            found = f"more than {_MAX_LINE_BYTES} bytes"
            raise refusal("invalid_sequence", entry.key, "has an overlong line", found, "x y z on each line")
    entry.finish()
    yield rest
