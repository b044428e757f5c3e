"""XYZ, TXT and CSV frames: text with one point per line.

Columns are named by a header line; without one the first three are x, y and z. Six or nine columns are read
as x, y, z, then colors (whole numbers up to 255), normals (of length one), or both in this order.
"""

import re
from collections.abc import Iterator
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.errors import quoted
from service.core.sequences.readers.frame import Frame, Source, bytes_of, invalid, read_lines
from service.core.sequences.readers.tables import numbers

_AXES, _COLORS, _NORMALS = ("x", "y", "z"), ("r", "g", "b"), ("nx", "ny", "nz")
_UNNAMED = (_AXES, _AXES + _COLORS, _AXES + _NORMALS, _AXES + _COLORS + _NORMALS)
_SAMPLE = 256  # lines by which unnamed columns are told apart
_SYNONYMS = {
    **{name: axis for axis in "xyz" for name in (f"{axis}_m", f"{axis}[m]", f"coord. {axis}", f"//{axis}")},
    **{"red": "r", "green": "g", "blue": "b", "//": ""},
    **{f"normal_{axis}": f"n{axis}" for axis in "xyz"},
    **{f"normal{axis}": f"n{axis}" for axis in "xyz"},
}


def read_text(source: Source, limit: int) -> Frame:
    """Points from lines of numbers, stopping after `limit + 1` of them. `#` and `//` start a comment."""
    rows = _rows(source)
    begun = list(islice(rows, min(_SAMPLE, limit + 2)))
    names = _names(begun[0], _delimiter(begun[0])) if begun else None
    if names is not None:
        del begun[0]
    elif len(begun) > 1 and begun[0].isdigit():
        del begun[0]  # the number of points, as PTS files begin
    if not begun:
        return Frame(np.empty((0, 3)))
    delimiter = _delimiter(begun[0])
    if names is None:
        names = _guess(source, begun, delimiter)
    if missing := [axis for axis in _AXES if axis not in names]:
        raise invalid(
            source, "has no column of coordinates", quoted(", ".join(names)), f"a column {missing[0]}"
        )
    width = 1 + max(names.index(name) for name in (*_AXES, *_COLORS, *_NORMALS) if name in names)
    table = numbers(
        source, chain(begun, islice(rows, max(0, limit + 1 - len(begun)))), width, delimiter
    )  # [N, width]

    def columns(wanted: tuple[str, ...]) -> NDArray[np.float64] | None:
        chosen = [names.index(name) for name in wanted if name in names]
        return table[:, chosen] if len(chosen) == len(wanted) else None

    points, colors, normals = columns(_AXES), columns(_COLORS), columns(_NORMALS)
    assert points is not None  # noqa: S101
    return Frame(
        points,
        None if colors is None else _color_bytes(colors),
        None if normals is None else normals.astype(np.float32),
    )


def _delimiter(line: bytes) -> str | None:
    return next((mark for mark in (";", ",") if mark.encode() in line), None)


def _color_bytes(colors: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colors [N, 3] as bytes; if none is larger than 1 they run from 0 to 1."""
    if not colors.size or np.nanmax(colors) <= 1:
        return bytes_of(colors)
    return np.nan_to_num(colors).clip(0, 255).astype(np.uint8)


def _names(line: bytes, delimiter: str | None) -> list[str] | None:
    """Names of the columns, if the line is a header."""
    words = [word.strip().strip("\"'").lower() for word in line.decode("latin-1").split(delimiter)]
    words = [_SYNONYMS.get(word, word) for word in words]
    named = any(re.match(r"[a-z_]", word) and word not in ("nan", "inf", "infinity") for word in words)
    return words if named and set(words) & {*_AXES} else None


def _guess(source: Source, lines: list[bytes], delimiter: str | None) -> list[str]:
    """Names of unnamed columns, by their number and the values in the first lines."""
    count = len(lines[0].decode("latin-1").split(delimiter))
    names = list(_AXES)
    if count not in (6, 9):
        return names
    more = numbers(source, lines, count, delimiter)[:, 3:]  # [L, 3 or 6]
    first = more[:, :3]
    if (first == first.round()).all() and first.min() >= 0 and 1 < first.max() <= 255:
        names += _COLORS
        more = more[:, 3:]
    else:
        more = first if count == 6 else more[:, :0]
    lengths = np.linalg.norm(more, axis=1) if more.size else np.zeros(1)
    if np.abs(lengths - 1).max() < 0.01:
        names += _NORMALS
    return names


def _rows(source: Source) -> Iterator[bytes]:
    """Lines that are neither empty nor comments; a comment that names columns x, y and z first is kept."""
    is_first = True
    for line in read_lines(source):
        row = re.split(rb"#|//", line, maxsplit=1)
        if text := row[0].strip():
            is_first = False
            yield text
        elif is_first and len(row) > 1 and re.match(rb"\s*x[\s,;]+y[\s,;]+z\b", row[1], re.I):
            is_first = False
            yield row[1].strip()
