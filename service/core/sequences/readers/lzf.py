"""Decompression of LZF, which compressed PCD files use.

Format: http://oldhome.schmorp.de/marc/liblzf.html. Packages that read it have no wheels for current Pythons.
"""


def decompress(data: bytes, size: int) -> bytes:
    """The `size` bytes that `data` holds. Raises ValueError if it is corrupt or holds another number."""
    out = bytearray()
    at, end = 0, len(data)
    try:
        while at < end and len(out) <= size:
            control = data[at]
            at += 1
            if control < 32:  # literals
                at += control + 1
                out += data[at - control - 1 : at]
                continue
            length = control >> 5
            if length == 7:
                length += data[at]
                at += 1
            start = len(out) - ((control & 31) << 8) - data[at] - 1
            at += 1
            length += 2
            if start < 0:
                raise ValueError("a reference before the start")
            piece = out[start : start + length]
            while len(piece) < length:  # the reference overlaps what it writes
                piece += piece[: length - len(piece)]
            out += piece
    except IndexError:
        raise ValueError("the data is truncated") from None
    if len(out) != size or at > end:
        raise ValueError(f"{len(out)} bytes for {size}")
    return bytes(out)
