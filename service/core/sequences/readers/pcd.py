"""PCD, the format of the Point Cloud Library: ASCII, binary and binary_compressed.

Format: https://pointclouds.org/documentation/tutorials/pcd_file_format.html
"""

from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.errors import quoted
from service.core.sequences.readers.fields import Fields
from service.core.sequences.readers.frame import (
    MAX_BYTES,
    Frame,
    Source,
    check_count,
    invalid,
    read_lines,
    read_whole,
    too_large,
    whole_number,
)
from service.core.sequences.readers.lzf import decompress
from service.core.sequences.readers.tables import numbers

_HEADER_BYTES = 1 << 13
_TYPES = {
    (b"F", b"4"): "<f4",
    (b"F", b"8"): "<f8",
    **{(b"I", str(size).encode()): f"<i{size}" for size in (1, 2, 4, 8)},
    **{(b"U", str(size).encode()): f"<u{size}" for size in (1, 2, 4, 8)},
}


def read_pcd(source: Source, limit: int) -> Frame:
    """Points with colors (`rgb` or `rgba`) and normals if there are.

    Points that are not numbers, a camera's missing measurements, are left out.
    """
    head = bytes(source.read(min(_HEADER_BYTES, source.size)))
    entries: dict[bytes, list[bytes]] = {}
    start = 0
    while b"DATA" not in entries:
        end = head.find(b"\n", start)
        if end < 0:
            found = quoted(head[:20].decode("latin-1"))
            raise invalid(source, "has no PCD header", found, "FIELDS, SIZE, TYPE, POINTS and DATA")
        if words := head[start:end].split(b"#")[0].split():
            entries[words[0]] = words[1:]
        start = end + 1
    record, count = _record(source, entries)
    kind = b" ".join(entries[b"DATA"]).lower()
    if kind == b"ascii":
        check_count(source, count, limit, 2 * len(record.names or ()), source.size)
        lines = (line for line in read_lines(source, head[start:], len(head)) if line.strip())
        columns = _ascii(source, record, islice(lines, count))
        for _ in lines:
            pass  # to check the end of the file
    elif kind in (b"binary", b"binary_compressed"):
        check_count(source, count, limit)
        data = head[start:] + read_whole(source, len(head))
        columns = _binary(source, record, count, data, compressed=kind != b"binary")
    else:
        found = quoted(kind.decode("latin-1"))
        raise invalid(source, "has an unknown kind of data", found, "ascii, binary or binary_compressed")
    if len(columns) < count:
        found = f"{len(columns):,} of {count:,} points"
        raise invalid(source, "is truncated", found, "every point")
    return Fields(columns, source).frame()


def _record(source: Source, entries: dict[bytes, list[bytes]]) -> tuple[np.dtype[Any], int]:
    """The type of a point, and the number of points."""
    names, sizes, kinds = (entries.get(key, []) for key in (b"FIELDS", b"SIZE", b"TYPE"))
    counts = entries.get(b"COUNT") or [b"1"] * len(names)
    if not names or not len(names) == len(sizes) == len(kinds) == len(counts) <= 256:
        found = f"{len(names)} fields, {len(sizes)} sizes, {len(kinds)} types"
        raise invalid(source, "has an inconsistent header", found, "a size and a type for each field")
    fields = []
    for index, key in enumerate(zip(kinds, sizes, strict=True)):
        if key not in _TYPES:
            found = quoted(b" ".join(key).decode("latin-1"))
            raise invalid(source, "has a field of unknown type", found, "F, I or U of 1, 2, 4 or 8 bytes")
        many = whole_number(source, counts[index])
        if many > 1 << 12:
            raise invalid(source, "has too large a field", f"{many:,} values", "at most 4,096 values a point")
        name = names[index].decode("latin-1")
        # Fields of padding share the name "_", which a record may not.
        fields.append((f"{index} {name}", _TYPES[key], (many,)))
    if b"POINTS" in entries:
        total = whole_number(source, b" ".join(entries[b"POINTS"]))
    else:
        total = whole_number(source, b" ".join(entries.get(b"WIDTH", [])))
        total *= whole_number(source, b" ".join(entries.get(b"HEIGHT", [b"1"])))
    return np.dtype(fields), total


def _ascii(source: Source, record: np.dtype[Any], lines: Any) -> NDArray[Any]:
    widths = [record[name].shape[0] for name in record.names or ()]
    table = numbers(source, lines, sum(widths))  # [N, values]
    columns = np.empty(len(table), record)
    with np.errstate(invalid="ignore", over="ignore"):
        for name, width, start in zip(record.names or (), widths, np.cumsum([0, *widths]), strict=False):
            columns[name] = table[:, start : start + width]
    return columns


def _binary(
    source: Source, record: np.dtype[Any], count: int, data: bytes, *, compressed: bool
) -> NDArray[Any]:
    if not compressed:
        check_count(source, count, 1 << 62, record.itemsize, len(data))
        return np.frombuffer(data, record, count)
    if len(data) < 8:
        raise invalid(source, "is truncated", f"{len(data)} bytes of data", "two sizes and the data")
    packed, size = np.frombuffer(data, "<u4", 2).tolist()
    if size != count * record.itemsize or packed > len(data) - 8:
        found = f"{packed:,} bytes for {size:,}"
        wanted = f"{len(data) - 8:,} bytes for {count * record.itemsize:,}"
        raise invalid(source, "has contradictory sizes", found, wanted)
    if size > MAX_BYTES:
        raise too_large(source, f"{size:,} bytes of points", f"at most {MAX_BYTES:,} in one frame")
    try:
        plain = decompress(data[8 : 8 + packed], size)
    except ValueError as error:
        raise invalid(source, "is corrupt", str(error), "LZF-compressed points") from None
    columns = np.empty(count, record)
    start = 0
    for name in record.names or ():  # each field of all points after the other
        columns[name] = np.frombuffer(plain, record[name].base, columns[name].size, start).reshape(
            columns[name].shape
        )
        start += columns[name].nbytes
    return columns
