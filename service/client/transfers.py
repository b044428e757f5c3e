"""A file of a result on its way to the disk."""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Self

from service.client.retrying import ServiceError
from service.core.jobs.formats import Format
from service.core.jobs.views import FileView, JobView

BLOCK = 2**20


class Download:
    """Blocks written beside `target`, which appears once they are complete and verified.

    In each attempt: `begin`, `write` for each block, `finish`. Raises ServiceError if the job has no file of
    the format, or if the file arrives damaged.
    """

    def __init__(self, job: JobView, target: Path, file_format: Format | str | None) -> None:
        self._file = file_of(job, file_format)
        self._part = target.with_name(f".{target.name}.part")
        self.target = target
        self.href = self._file.href

    def __enter__(self) -> Self:
        self._out = self._part.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.close()
        self._part.unlink(missing_ok=True)

    def begin(self) -> None:
        self._digest = hashlib.sha256()
        self._out.seek(0)
        self._out.truncate()

    def write(self, block: bytes) -> None:
        self._digest.update(block)
        self._out.write(block)

    def finish(self) -> None:
        if self._digest.hexdigest() != self._file.sha256:
            message = f"{self._file.name} arrived damaged: its SHA-256 is not the one in the job"
            raise ServiceError(message, "damaged")
        self._out.close()  # before the move: Windows moves no open file
        self._part.replace(self.target)


def file_of(job: JobView, wanted: Format | str | None) -> FileView:
    """The job's file of a format, or its first. Raises ServiceError if there is none."""
    files = job.result.files if job.result else []
    for file in files:
        if wanted in (None, file.format):
            return file
    available = ", ".join(file.format for file in files) or "none"
    raise ServiceError(f"the job has no {wanted or 'file'}; available: {available}", "not_found")
