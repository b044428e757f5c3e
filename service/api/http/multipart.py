"""Forms with files, in one temporary file however many files there are, so that a form of a thousand small
files takes neither their size in memory nor as many open files."""

import io
from typing import Any, BinaryIO

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

MAX_FIELDS = 32
MAX_FIELD = 65_536  # bytes
CHARSETS = {
    b"utf-8",
    b"utf8",
}  # Python has some that take seconds over a field, and some that are none for text


async def read_form(request: Request, files: BinaryIO, max_files: int) -> FormData:
    """The form; the contents of its files lie one after the other in `files`.

    Raises MultiPartException.
    """
    _, told = parse_options_header(request.headers["content-type"])
    if told.get(b"charset", b"utf-8").lower() not in CHARSETS:
        raise MultiPartException("The charset of the form is not UTF-8.")
    parser = _Parser(
        request.headers, request.stream(), max_files=max_files, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD
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
            file.file = _Section(self.files)  # type: ignore[assignment]  # a RawIOBase reads and seeks as well


class _Section(io.RawIOBase):
    """A part of a file; it is written first, at the end of what is there, and read afterwards."""

    def __init__(self, whole: BinaryIO) -> None:
        self.whole = whole
        self.start = -1  # of the context before this one, not all may be written yet
        self.size = self.place = 0

    def write(self, data: Any) -> int:
        end = self.whole.seek(0, io.SEEK_END)
        if self.start < 0:
            self.start = end
        written = self.whole.write(data)
        self.size += written
        return written

    def readinto(self, buffer: Any) -> int:
        self.whole.seek(self.start + self.place)
        found = self.whole.read(min(len(buffer), self.size - self.place))
        buffer[: len(found)] = found
        self.place += len(found)
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.place = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence] + offset
        return self.place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
