"""Decompression of LAZ, by lazrs, after every number that makes it allocate memory has been checked.

Format: M. Isenburg, LASzip: lossless compression of LiDAR data (2013), and its specification by rapidlasso.
"""

import io
import struct

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.errors import SequenceError
from service.core.sequences.readers.frame import Source, invalid, too_large

_MAX_RATIO = 64  # of points to their compressed bytes; real scans reach 20
_LAYERED = 3  # kind of compression: each chunk declares the sizes of its layers
_LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}  # of each kind of item
_EXTRA_BYTES = 14  # an item with a layer for each byte


def decompress(
    source: Source, data: bytes, start: int, records: int, width: int, count: int
) -> NDArray[np.uint8]:
    """Point records [N, width] of a file whose points begin at `start`; raises SequenceError."""
    import lazrs  # when it is needed: most uploads are not LAZ

    if count * width > _MAX_RATIO * len(data) + (1 << 20):
        found = f"{count * width:,} bytes of points in {len(data):,}"
        raise too_large(source, found, f"at most {_MAX_RATIO} times its size")
    out: NDArray[np.uint8] = np.empty(count * width, np.uint8)
    if not count:
        return out.reshape(0, width)
    description = _description(source, data, records)
    _check_table(source, data, start, count)
    try:
        record = lazrs.LazVlr(description)
        if record.item_size() != width:
            found = f"{record.item_size()} bytes in its LAZ record"
            raise invalid(source, "has contradictory sizes", found, f"{width} bytes")
        if struct.unpack_from("<H", description)[0] == _LAYERED:
            chunks = lazrs.read_chunk_table(_at(data, start), record)
            _check_layers(source, data, start + 8 + width + 4, chunks, _layers(description))
        lazrs.LasZipDecompressor(_at(data, start), description).decompress_many(out)
    except (lazrs.LazrsError, ValueError, TypeError, OSError, OverflowError, struct.error) as error:
        raise _corrupt(source, error) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust, which is no Exception and cannot be imported
            raise
        raise _corrupt(source, error) from None
    return out.reshape(count, width)


def _corrupt(source: Source, error: BaseException) -> SequenceError:
    found = "".join(c for c in str(error) if c.isprintable())[:60] or "damaged data"
    return invalid(source, "is corrupt", found, "LAZ-compressed points")


def _at(data: bytes, start: int) -> io.BytesIO:
    file = io.BytesIO(data)
    file.seek(start)
    return file


def _description(source: Source, data: bytes, count: int) -> bytes:
    """The variable-length record that describes the compression."""
    at = struct.unpack_from("<H", data, 94)[0]
    for _ in range(min(count, 1024)):
        if at + 54 > len(data):
            break
        user, number, length = struct.unpack_from("<16sHH", data, at + 2)
        if user.rstrip(b"\0") == b"laszip encoded" and number == 22204 and length >= 34:
            return data[at + 54 : at + 54 + length]
        at += 54 + length
    raise invalid(source, "is compressed, but does not say how", f"{count} records", "a laszip record")


def _check_table(source: Source, data: bytes, start: int, points: int) -> None:
    """The table of chunks lies in the file and has no more chunks than there are points."""
    at = struct.unpack_from("<q", data, start)[0] if start + 8 <= len(data) else -1
    if at == -1 and len(data) >= 8:  # written as a stream: the offset stands at the end
        at = struct.unpack_from("<q", data, len(data) - 8)[0]
    chunks = struct.unpack_from("<L", data, at + 4)[0] if 0 <= at <= len(data) - 8 else -1
    if not 0 <= chunks <= points or at < start:
        found = f"{chunks:,} chunks from byte {at:,}"
        raise invalid(source, "has an invalid table of chunks", found, f"at most {points:,} within the file")


def _layers(description: bytes) -> int:
    """The number of layers of a chunk."""
    [items] = struct.unpack_from("<H", description, 32)
    kinds = [struct.unpack_from("<2H", description, 34 + 6 * index) for index in range(items)]
    return sum(size if kind == _EXTRA_BYTES else _LAYERS.get(kind, 0) for kind, size in kinds)


def _check_layers(source: Source, data: bytes, at: int, chunks: list[tuple[int, int]], layers: int) -> None:
    """The layers of each chunk, whose sizes stand from `at` on in the first one, fit into the file."""
    for _, size in chunks:
        sizes = struct.unpack_from(f"<{layers}L", data, at)
        if sum(sizes) > len(data):
            found = f"layers of {sum(sizes):,} bytes"
            raise invalid(source, "is corrupt", found, f"at most {len(data):,}, the size of the file")
        at += size
