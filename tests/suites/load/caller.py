"""A client as docs/api.md recommends, on one kept connection; it costs little beside what it measures."""

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from service.local.ports import LOOPBACK

BUSY = {409, 429, 503}  # retry after Retry-After
PATIENCE = 120.0  # seconds


class LoadError(Exception):
    """The service violated its contract."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # by lower-case name
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Timings:
    """Request durations, collected from many threads."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.retries = 0
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        with self._lock:
            self.seconds.append(seconds)

    def count_again(self) -> None:
        with self._lock:
            self.retries += 1


class Caller:
    """A client with its own key."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = HTTPConnection(LOOPBACK, port, timeout=60)
        self._headers = {"Authorization": f"Bearer {key}"}

    def close(self) -> None:
        self._connection.close()

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send a request and return the response."""
        answer = self._begin(method, path, body, headers or {})
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def ask(
        self,
        timings: Timings,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Like `send`, but retry after `Retry-After` until the request succeeds.

        Only the successful request is recorded in `timings`.
        """
        end = time.monotonic() + PATIENCE
        while True:
            began = time.perf_counter()
            answer = self.send(method, path, body, headers)
            if answer.status < 400:
                timings.add(time.perf_counter() - began)
                return answer
            if answer.status not in BUSY or time.monotonic() > end:
                raise LoadError(f"{method} {path}: {answer.status} {answer.body.decode()}")
            timings.count_again()
            time.sleep(float(answer.headers["retry-after"]))

    def submit(self, timings: Timings, file: bytes, query: str) -> dict[str, Any]:
        """Submit a sequence with an idempotency key and return the job."""
        headers = {"Content-Type": "application/octet-stream", "Idempotency-Key": secrets.token_hex(16)}
        job: dict[str, Any] = self.ask(timings, "POST", f"/reconstruct?{query}", file, headers).json()
        return job

    def follow(self, timings: Timings, job_id: str) -> dict[str, Any]:
        """Poll at the interval of Retry-After until the job has ended."""
        while True:
            answer = self.ask(timings, "GET", f"/jobs/{job_id}")
            job: dict[str, Any] = answer.json()
            if job["state"] not in ("queued", "running"):
                return job
            time.sleep(float(answer.headers["retry-after"]))

    def download(self, timings: Timings, href: str) -> bytes:
        """Download the file of a job's `href` through the redirect to the object store."""
        url = urlsplit(self.ask(timings, "GET", href).headers["location"])
        store = HTTPConnection(url.hostname or "", url.port, timeout=60)
        try:
            store.request("GET", f"{url.path}?{url.query}")
            answer = store.getresponse()
            if answer.status != 200:
                raise LoadError(f"GET {url.path}: {answer.status}")
            return answer.read()
        finally:
            store.close()

    @contextmanager
    def stream(self, path: str) -> Iterator[HTTPResponse]:
        """Open an event stream. The connection cannot be reused afterwards."""
        try:
            answer = self._begin("GET", path, None, {"Accept": "text/event-stream"})
            if answer.status != 200:
                raise LoadError(f"GET {path}: {answer.status}")
            yield answer
        finally:
            self.close()

    def _begin(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> HTTPResponse:
        try:
            self._connection.request(method, path, body, self._headers | headers)
            return self._connection.getresponse()
        except (OSError, HTTPException) as error:
            raise LoadError(f"{method} {path}: {error!r}") from error
