"""Sending a stored file from the gateway: `ETag`, `Range` and a check of its hash (RFC 9110)."""

import re
from dataclasses import dataclass

from fastapi import Response
from fastapi.responses import StreamingResponse

from service.api.http.etags import matches
from service.api.http.problems import Problem
from service.api.lanes import Lane
from service.core.object_store import ObjectStore, RangeError, verified

ONE_RANGE = re.compile(r"bytes=(?:\d{1,18}-\d{0,18}|-\d{1,18})", re.ASCII)


@dataclass(frozen=True)
class StoredFile:
    """A file of a job: its key in the store, its size and hash on record, and a name to save it as."""

    key: str
    bytes: int
    sha256: str
    filename: str
    job_id: str

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'

    @property
    def headers(self) -> dict[str, str]:
        return {"ETag": self.etag, "Content-Disposition": f'attachment; filename="{self.filename}"'}


@dataclass(frozen=True)
class Conditions:
    """The request headers `Range`, `If-Range` and `If-None-Match`."""

    byte_range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None


def unchanged(file: StoredFile, conditions: Conditions) -> Response | None:
    """The answer 304 if the client has this file."""
    if matches(conditions.if_none_match, file.etag):
        return Response(status_code=304, headers={"ETag": file.etag})
    return None


async def require_stored(store: ObjectStore, calls: Lane, file: StoredFile, lost: str) -> None:
    """Raise the Problem with code `lost` unless the store has a file of that size."""
    if await calls.run(store.size, file.key) != file.bytes:
        raise Problem(lost, job_id=file.job_id)


async def send(store: ObjectStore, calls: Lane, file: StoredFile, conditions: Conditions) -> Response:
    """The file, or one range of it. Raises Problem `range_not_satisfiable`."""
    wanted = conditions.byte_range
    valid = wanted and ONE_RANGE.fullmatch(wanted) and conditions.if_range in (None, file.etag)
    try:
        headers, status, chunks = await calls.run(store.open, file.key, wanted if valid else None)
    except RangeError:
        size = {"Content-Range": f"bytes */{file.bytes}"}
        detail = f"The requested range lies beyond the file's {file.bytes} bytes"
        raise Problem("range_not_satisfiable", detail, job_id=file.job_id, headers=size) from None
    # Corruption is detected at the end: the response is then cut short, so the client notices.
    content = chunks if status == 206 else verified(chunks, file.sha256)
    return StreamingResponse(calls.iterate(content), status, headers | file.headers)
