"""The routes of a server as requests to send and answers to read; nothing here sends anything.

Each route is a generator: it yields a Call, is sent the answer, and returns its result. `Client` and
`AsyncClient` run the same generators.
"""

import json
import secrets
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from io import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import httpx

from service.client.transfers import BLOCK
from service.core.jobs.record import State
from service.core.jobs.views import JobList, JobView
from service.core.sequences.sources import find_source, is_url

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One request; with `to_store` it goes to the object store, which must not see the caller's key."""

    method: str
    url: str
    arguments: dict[str, Any] = field(default_factory=dict)  # of httpx.Client.request, or httpx.Request
    to_store: bool = False


Calls = Generator[Call, httpx.Response, T]


class FileStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A file as the body of a request, from its beginning each time that the request is sent."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while block := self._file.read(BLOCK):
            yield block

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for block in self:
            yield block


class Exchange(Generic[T]):
    """A generator of calls while it runs; `result` is there once `advance` has returned None."""

    result: T

    def __init__(self, calls: Calls[T]) -> None:
        self._calls = calls

    def advance(self, answer: httpx.Response | None) -> Call | None:
        """The next call, given the answer to the last one. Reads files: it may block."""
        try:
            return next(self._calls) if answer is None else self._calls.send(answer)
        except StopIteration as end:
            self.result = end.value
            return None

    def close(self) -> None:
        self._calls.close()


def reconstruct(
    source: str | Path | Sequence[str | Path], options: dict[str, Any], upload_above: int
) -> Calls[JobView]:
    """`POST /reconstruct`; files larger than `upload_above` bytes go directly to the object store."""
    headers = {"Idempotency-Key": secrets.token_hex(16)}
    given = {name: value for name, value in options.items() if value is not None}
    topic = given.pop("topic", None)
    sources = [source] if isinstance(source, str | Path) else list(source)
    if len(sources) == 1 and is_url(sources[0]):
        body = {"source_url": str(sources[0]), **given}
        answer = yield Call("POST", "/reconstruct", {"json": body, "headers": headers, "timeout": 150})
        return JobView.model_validate(answer.json())
    found = find_source(sources)
    with found.open(topic) as file:
        size = file.seek(0, SEEK_END)
        file.seek(0)
        if size > upload_above:
            upload_id = yield from _upload(file, size)
            content = {"json": {"name": found.name, **given, "upload_id": upload_id}}
        else:
            fields = {name: _field(value) for name, value in given.items()}
            content = {"files": {"file": (found.name, file.read())}, "data": fields}
        answer = yield Call("POST", "/reconstruct", {**content, "headers": headers})
    return JobView.model_validate(answer.json())


def job(job_id: str, wait: int = 0) -> Calls[JobView]:
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    answer = yield Call("GET", f"/jobs/{job_id}", {"headers": headers, "timeout": wait + 30})
    return JobView.model_validate(answer.json())


def page(state: State | str | None, cursor: str | None) -> Calls[JobList]:
    """A page of `GET /jobs`, the first one without `cursor`."""
    query = {"state": str(state) if state else None, "cursor": cursor}
    given = {name: value for name, value in query.items() if value}
    return JobList.model_validate((yield Call("GET", "/jobs", {"params": given})).json())


def cancel(job_id: str) -> Calls[JobView]:
    return JobView.model_validate((yield Call("DELETE", f"/jobs/{job_id}")).json())


def models() -> Calls[list[dict[str, Any]]]:
    return list((yield Call("GET", "/models")).json())


def _upload(file: BinaryIO, size: int) -> Calls[str]:
    """Send a file directly to the object store; returns the id of the upload."""
    upload = (yield Call("POST", "/uploads", {"json": {"bytes": size}})).json()
    if upload["method"] == "PUT":
        host = {"Host": httpx.URL(upload["url"]).netloc.decode()}  # httpx adds it to its own streams only
        content = {"headers": host | upload["headers"], "stream": FileStream(file)}
    else:
        content = {"data": upload["fields"], "files": {"file": ("input", file)}}  # httpx rewinds the file
    yield Call(upload["method"], upload["url"], content, to_store=True)
    return str(upload["upload_id"])


def _field(value: Any) -> Any:
    """An option as a form field."""
    if isinstance(value, dict):
        return json.dumps(value)
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value
