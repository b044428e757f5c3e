"""Streaming reader for untrusted NumPy arrays (.npy).

The header is accepted only if header and shape × item size fill the archive entry exactly, so a forged shape
cannot cause a larger allocation than the declared size. Format:
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import ast
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.errors import SequenceError, quoted, refusal
from service.core.sequences.readers.frame import Source

CHUNK_VALUES = 3 << 15  # values read at a time: complete rows of three, 786 kB in float64
_HEADER_BYTES = 10_000  # as numpy
# The tokens of a valid header; `ast.literal_eval` never sees operators, escapes or unusual numbers.
_TOKENS = re.compile(r"(?:[\s{}()\[\],:]|'[^'\\\n]*'|\"[^\"\\\n]*\"|True|False|\d)*")
_LONG = re.compile(r"(?<=\d)L(?=\s*[,)])")  # as Python 2 wrote integers on some systems
_NUMBERS = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248])|bool|u?int(?:8|16|32|64)|float(?:16|32|64)")


class ArrayStream:
    """An array in an archive whose header (`dtype`, `shape`, `fortran`) has been read, but not its data.

    Accepts bool, integers and float16/32/64 of either byte order, format versions 1.0 to 3.0.
    Raises SequenceError naming `key` for anything else.
    """

    def __init__(self, reader: Source, key: str) -> None:
        self.key = key
        self._reader = reader
        magic = bytes(self._take(8))
        if magic[:6] != b"\x93NUMPY" or magic[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
            raise self._refusal(
                "is not a numpy array", quoted(magic.decode("latin-1")), "an .npy entry, version 1 to 3"
            )
        width = 2 if magic[6] == 1 else 4
        length = int.from_bytes(self._take(width), "little")
        if length > _HEADER_BYTES:
            raise self._refusal("has an oversized header", f"{length:,} bytes", f"at most {_HEADER_BYTES:,}")
        self._parse(self._take(length).decode("latin-1"))
        self.size = math.prod(self.shape)  # Python integers cannot overflow
        implied = 8 + width + length + self.size * self.dtype.itemsize
        if implied != reader.size:
            found = f"{implied:,} bytes for shape {quoted(str(self.shape))} of {self.dtype.name}"
            wanted = f"{reader.size:,} bytes, the size of the entry"
            raise self._refusal("has a shape that does not match its data", found, wanted)

    def chunks(self, most: int = CHUNK_VALUES) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield flat chunks of at most so many values in file order and stored type, each with the index of
        its first value.
        """
        for start in range(0, self.size, most):
            count = min(most, self.size - start)
            yield start, np.frombuffer(self._reader.read(count * self.dtype.itemsize), self.dtype)
        self._reader.finish()

    def read(self) -> NDArray[Any]:
        """Read the whole array; only for arrays whose size has been checked."""
        flat = np.concatenate([np.empty(0, self.dtype), *(values for _, values in self.chunks())])
        return flat.reshape(self.shape, order=self.order)

    def rows_and_columns(self, flat: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Convert flat file indices into a [T, N, 3] or [M, 3] array to row and coordinate indices."""
        *leading, columns = np.unravel_index(flat, self.shape, order=self.order)
        return np.ravel_multi_index(tuple(leading), self.shape[:-1]), columns

    @property
    def order(self) -> Any:
        return "F" if self.fortran else "C"

    def _take(self, count: int) -> bytes | bytearray:
        try:
            return self._reader.read(count)
        except SequenceError as error:
            raise self._refusal(
                "has an incomplete header", f"{self._reader.size} bytes", "an .npy entry"
            ) from error

    def _parse(self, text: str) -> None:
        text = _LONG.sub("", text)
        try:
            header = ast.literal_eval(text.strip()) if _TOKENS.fullmatch(text) else None
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            header = None
        if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
            raise self._refusal(
                "has an invalid header", quoted(text.strip()), "descr, fortran_order and shape"
            )
        descr, self.fortran, self.shape = header["descr"], header["fortran_order"], header["shape"]
        if not isinstance(descr, str) or not _NUMBERS.fullmatch(descr):
            raise self._refusal(
                "has an unsupported type", _describe_type(descr), "a numeric type such as float32"
            )
        sizes = self.shape if isinstance(self.shape, tuple) else [None]
        if (
            type(self.fortran) is not bool
            or len(sizes) > 8
            or not all(type(size) is int and size < 1 << 63 for size in sizes)
        ):
            raise self._refusal("has an invalid header", quoted(text.strip()), "a shape of integers")
        self.dtype: np.dtype[Any] = np.dtype(descr)

    def _refusal(self, message: str, found: str, wanted: str) -> SequenceError:
        return refusal("invalid_sequence", self.key, message, found, wanted)


def _describe_type(descr: object) -> str:
    if isinstance(descr, list | tuple):
        return "a structured type"
    return "Python objects" if "O" in str(descr) else f"type {quoted(str(descr))}"
