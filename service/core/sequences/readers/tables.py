"""Tables of numbers in text."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.errors import quoted
from service.core.sequences.readers.frame import Source, invalid


def numbers(
    source: Source, lines: Iterable[bytes], columns: int, delimiter: str | None = None
) -> NDArray[np.float64]:
    """The first `columns` numbers of each line [L, columns]; by default they are separated by white space."""
    text = (line.decode("latin-1") for line in lines)
    first = next(text, None)
    if first is None or not columns:
        return np.empty((0, columns))

    def every() -> Iterable[str]:
        yield first
        yield from text

    try:
        return np.loadtxt(every(), usecols=range(columns), ndmin=2, delimiter=delimiter, comments=None)
    except ValueError as error:
        found = quoted(str(error))
        raise invalid(source, "is not a table of numbers", found, f"{columns} numbers on each line") from None
