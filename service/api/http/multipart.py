"""Multipart forms whose files share one temporary file.

A form with a thousand small files then needs neither their size in memory nor a thousand open files.
"""

import io
from typing import Any, BinaryIO

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

MAX_FIELDS = 32
MAX_FIELD_BYTES = 65_536
# Other Python codecs may take seconds to decode a field, or are not text codecs at all.
CHARSETS = {b"utf-8", b"utf8"}


async def read_form(request: Request, files: BinaryIO, max_files: int) -> FormData:
    """Parse the form, storing the contents of its files one after another in `files`.

    Raises MultiPartException.
    """
    _, parameters = parse_options_header(request.headers["content-type"])
    if parameters.get(b"charset", b"utf-8").lower() not in CHARSETS:
        raise MultiPartException("The charset of the form must be UTF-8.")
    parser = _Parser(
        request.headers,
        request.stream(),
        max_files=max_files,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    parser.files = files
    return await parser.parse()


class _Parser(MultiPartParser):
    files: BinaryIO

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        file = self._current_part.file
        if isinstance(file, UploadFile):
            file.file.close()
            file.file = _Section(self.files)  # type: ignore[assignment]  # RawIOBase supports all that is used


class _Section(io.RawIOBase):
    """A section of a shared file: appended to it once, then read back."""

    def __init__(self, whole: BinaryIO) -> None:
        self.whole = whole
        self.start = -1  # set by the first write, once the preceding parts are complete
        self.size = self.position = 0

    @property
    def _rolled(self) -> bool:
        """Whether it is on disk, by which UploadFile decides whether to write in a thread."""
        return bool(getattr(self.whole, "_rolled", True))

    def write(self, data: Any) -> int:
        end = self.whole.seek(0, io.SEEK_END)
        if self.start < 0:
            self.start = end
        written = self.whole.write(data)
        self.size += written
        return written

    def readinto(self, buffer: Any) -> int:
        self.whole.seek(max(self.start, 0) + self.position)  # nothing is written of an empty file
        data = self.whole.read(min(len(buffer), self.size - self.position))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence] + offset
        return self.position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
