"""PLY: ASCII and binary of either byte order, with any further properties and elements.

Format: http://paulbourke.net/dataformats/ply/
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.errors import quoted
from service.core.sequences.readers.frame import (
    MAX_FACES,
    Frame,
    Source,
    bytes_of,
    check_count,
    coordinates,
    invalid,
    read_lines,
    read_whole,
    whole_number,
)
from service.core.sequences.readers.polygons import grouped, triangles_of
from service.core.sequences.readers.tables import numbers

_HEADER_BYTES = 1 << 14
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {b"ascii": "=", b"binary_little_endian": "<", b"binary_big_endian": ">"}
_LISTS = ("vertex_indices", "vertex_index")


@dataclass
class _Element:
    """A kind of item in the file: `fields` are (name, type, type of the count if it is a list)."""

    name: str
    count: int
    fields: list[tuple[str, str, str | None]] = field(default_factory=list)

    @property
    def lists(self) -> bool:
        return any(count for _, _, count in self.fields)

    @property
    def least_bytes(self) -> int:
        """Of one binary item; lists may be empty."""
        return sum(np.dtype(count or kind).itemsize for _, kind, count in self.fields)


@dataclass(frozen=True)
class _Header:
    elements: list[_Element]
    order: str  # of bytes; `=` for ASCII
    begun: bytes  # what was read beyond the header
    taken: int  # bytes read


def read_ply(source: Source, limit: int) -> Frame:
    """Vertices with colors and normals if there are, and the faces of a mesh."""
    header = _read_header(source)
    elements, order = header.elements, header.order
    names = [element.name for element in elements]
    if "vertex" not in names:
        found = ", ".join(map(quoted, names[:8])) or "no element"
        raise invalid(source, "has no vertices", found, "an element named vertex")
    for element in elements:
        most = {"vertex": limit, "face": MAX_FACES}.get(element.name, 1 << 62)
        least = element.least_bytes if order != "=" else 2 * len(element.fields)  # a digit and a space
        check_count(source, element.count, most, max(1, least), source.size)
    tables = _ascii_tables(source, header) if order == "=" else _binary_tables(source, header)
    vertices: dict[str, Any] = {}
    polygons: list[NDArray[np.int64]] = []
    for element, table in zip(elements, tables, strict=False):
        if element.name == "vertex" and not vertices:
            vertices = table
        elif element.name == "face":
            polygons += table.get("polygons", [])
    return _frame(source, vertices, polygons)


def _frame(source: Source, columns: dict[str, Any], polygons: list[NDArray[np.int64]]) -> Frame:
    if missing := [axis for axis in "xyz" if axis not in columns]:
        found = ", ".join(map(quoted, list(columns)[:8])) or "no property"
        raise invalid(source, "has vertices without coordinates", found, f"the property {missing[0]}")
    points = coordinates(np.stack([columns[axis] for axis in "xyz"], axis=-1))  # [N, 3]
    colors = normals = None
    for names in (
        ("red", "green", "blue"),
        ("diffuse_red", "diffuse_green", "diffuse_blue"),
        ("r", "g", "b"),
    ):
        if colors is None and all(name in columns for name in names):
            colors = bytes_of(np.stack([columns[name] for name in names], axis=-1))
    if all(name in columns for name in ("nx", "ny", "nz")):
        normals = np.stack([columns[name] for name in ("nx", "ny", "nz")], axis=-1).astype(np.float32)
    faces = triangles_of(polygons, source, len(points)) if polygons else None
    return Frame(points, colors, normals, faces if faces is not None and len(faces) else None)


def _read_header(source: Source) -> _Header:
    head = bytes(source.read(min(_HEADER_BYTES, source.size)))
    end = re.search(rb"(?:^|[\r\n])end_header[ \t]*(\r\n|\n|\r)", head)
    if not head.startswith(b"ply") or end is None:
        found = quoted(head[:20].decode("latin-1"))
        raise invalid(source, "has no PLY header", found, "'ply', the properties and 'end_header'")
    order, elements = "", list[_Element]()
    for line in re.split(rb"[\r\n]+", head[: end.start() + 1]):
        match line.split():
            case [b"format", kind, *_] if kind in _ORDERS:
                order = _ORDERS[kind]
            case [b"element", name, count]:
                elements.append(_Element(name.decode("latin-1"), whole_number(source, count)))
            case [b"property", b"list", count, kind, name] if elements:
                kinds = _type(source, kind), _type(source, count)
                if kinds[1][0] == "f":
                    raise invalid(source, "has a list with a fractional length", "float", "an integer type")
                elements[-1].fields.append((name.decode("latin-1"), *kinds))
            case [b"property", kind, name] if elements:
                elements[-1].fields.append((name.decode("latin-1"), _type(source, kind), None))
            case [] | [b"ply"] | [b"comment", *_] | [b"obj_info", *_]:
                pass
            case _:
                found = quoted(line.decode("latin-1"))
                raise invalid(
                    source, "has an invalid line in its header", found, "format, element or property"
                )
    if not order:
        raise invalid(source, "does not name its format", "no format", "ascii or binary of either byte order")
    return _Header(elements, order, head[end.end() :], len(head))


def _type(source: Source, name: bytes) -> str:
    kind = _TYPES.get(name.decode("latin-1"))
    if kind is None:
        raise invalid(
            source, "has a property of unknown type", quoted(name.decode("latin-1")), "such as float"
        )
    return kind


def _ascii_tables(source: Source, header: _Header) -> Iterator[dict[str, Any]]:
    """Columns of each element by name, or its polygons."""
    lines = (line for line in read_lines(source, header.begun, header.taken) if line.strip())
    for element in header.elements:
        rows = islice(lines, element.count)
        if element.lists:
            yield {"polygons": _ascii_polygons(source, element, rows)}
            continue
        kinds = [kind for _, kind, _ in element.fields]
        table = numbers(source, rows, len(kinds))  # [count, fields]
        if len(table) != element.count:
            found = f"{len(table):,} of {element.count:,} lines"
            raise invalid(source, "is truncated", found, f"every {quoted(element.name)}")
        with np.errstate(invalid="ignore", over="ignore"):
            yield {
                name: column.astype(kind)
                for (name, kind, _), column in zip(element.fields, table.T, strict=True)
            }
    for _ in lines:
        pass  # to check the end of the file


def _ascii_polygons(source: Source, element: _Element, rows: Iterator[bytes]) -> list[NDArray[np.int64]]:
    found, wanted = list[list[int]](), element.count
    for row in rows:
        words = row.split()
        wanted -= 1
        at, corners = 0, list[int]()
        try:
            for name, _, count in element.fields:
                size = int(words[at]) if count else 1
                if not 0 <= size <= len(words) - at - bool(count):
                    raise ValueError
                start = at + bool(count)
                if name in _LISTS:
                    corners = [int(word) for word in words[start : start + size]]
                at = start + size
        except (ValueError, IndexError):
            line = quoted(row.decode("latin-1"))
            raise invalid(
                source, "has an invalid face", line, "the number of corners and each of them"
            ) from None
        if any(abs(corner) > 1 << 40 for corner in corners):
            raise invalid(
                source, "has a face with a missing vertex", str(max(corners))[:20], "vertices of the file"
            )
        found.append(corners)
    if wanted:
        found_text = f"{element.count - wanted:,} of {element.count:,} lines"
        raise invalid(source, "is truncated", found_text, f"every {quoted(element.name)}")
    return grouped(found)


def _binary_tables(source: Source, header: _Header) -> Iterator[dict[str, Any]]:
    data = header.begun + read_whole(source, header.taken)
    start, order = 0, header.order
    for element in header.elements:
        if element.lists:
            polygons, start = _binary_polygons(source, element, data, start, order)
            yield {"polygons": polygons}
            continue
        kind = np.dtype([(f"{index}", order + kind) for index, (_, kind, _) in enumerate(element.fields)])
        check_count(source, element.count, 1 << 62, kind.itemsize, len(data) - start)
        table = np.frombuffer(data, kind, element.count, start) if kind.itemsize else np.empty(0, kind)
        yield {
            name: table[f"{index}"].astype(table[f"{index}"].dtype.newbyteorder("="))
            for index, (name, _, _) in enumerate(element.fields)
        }
        start += element.count * kind.itemsize


def _binary_polygons(
    source: Source, element: _Element, data: bytes, start: int, order: str
) -> tuple[list[NDArray[np.int64]], int]:
    """The polygons of an element with lists, and where its data ends."""
    check_count(source, element.count, MAX_FACES, element.least_bytes, len(data) - start)
    even = _even_polygons(element, data, start, order)
    if even is not None:
        return even
    fields = [
        (name in _LISTS, np.dtype(order + kind), np.dtype(order + count) if count else None)
        for name, kind, count in element.fields
    ]
    runs = list[tuple[int, list[int]]]()  # corners of a polygon, offsets of such polygons
    kind = next((kind for chosen, kind, _ in fields if chosen), np.dtype("i4"))
    byte_order: Any = "little" if order == "<" else "big"
    for _ in range(element.count):
        for chosen, item, count in fields:
            size = 1
            if count is not None:
                size = int.from_bytes(
                    data[start : start + count.itemsize], byte_order, signed=count.kind == "i"
                )
                start += count.itemsize
            if size < 0 or start + size * item.itemsize > len(data):
                raise invalid(source, "is truncated", f"a list of {size}", f"every {quoted(element.name)}")
            if chosen:
                if not runs or runs[-1][0] != size:
                    runs.append((size, []))
                runs[-1][1].append(start)
            start += size * item.itemsize
    raw = np.frombuffer(data, np.uint8)
    polygons = []
    for size, offsets in runs:
        rows = raw[np.array(offsets)[:, None] + np.arange(size * kind.itemsize)]  # [K, bytes]
        polygons.append(rows.view(kind).reshape(len(offsets), size).astype(np.int64))
    return polygons, start


def _even_polygons(
    element: _Element, data: bytes, start: int, order: str
) -> tuple[list[NDArray[np.int64]], int] | None:
    """As `_binary_polygons` for a single list of one length throughout, at once; otherwise None."""
    if len(element.fields) != 1 or not element.count:
        return None
    [(name, kind, count)] = element.fields
    size = int(np.frombuffer(data, order + str(count), 1, start)[0])
    record = np.dtype([("size", order + str(count)), ("corners", order + kind, (max(size, 0),))])
    end = start + element.count * record.itemsize
    if size < 1 or end > len(data):
        return None
    table = np.frombuffer(data, record, element.count, start)
    if (table["size"] != size).any():
        return None
    return [table["corners"].astype(np.int64)] if name in _LISTS else [], end
