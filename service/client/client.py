"""Client of the HTTP API for Python programs.

    with Client("http://127.0.0.1:8000", key="oflow_…") as service:
        job = service.reconstruct("jump.npz", formats=["glb"], color="correspondence")
        job = service.wait(job.id)
        service.download(job, "jump.glb")

Requests are repeated for `patience` seconds while the server is busy or the connection fails; a submission
carries an idempotency key, so that it never creates two jobs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from tenacity import Retrying

from service.client import calls
from service.client.connection import STORE, Connection, JobFailedError
from service.client.event_stream import follow_events, ignore
from service.client.retrying import check
from service.client.transfers import BLOCK, Download
from service.core.jobs.formats import Format
from service.core.jobs.record import JobEvent, State
from service.core.jobs.views import JobView

T = TypeVar("T")


class Client(Connection[httpx.Client]):
    """The routes of a server as methods. Close it, or use it in a `with` block.

    Raises ServiceError when a request is refused or the server cannot be reached.
    """

    _kind = httpx.Client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def reconstruct(self, source: str | Path | Sequence[str | Path], **options: Any) -> JobView:
        """Submit a sequence with options of `POST /reconstruct`; returns the queued job.

        `source` is a file, a folder or pattern of frames, several frames, a ROS bag with its `topic`, or a
        URL that the server fetches. Raises SourceError if it is nothing of these.
        """
        return self._run(calls.reconstruct(source, options, self._upload_above))

    def job(self, job_id: str, wait: int = 0) -> JobView:
        """A job as it is; with `wait`, once it has ended or after that many seconds (at most 60)."""
        return self._run(calls.job(job_id, wait))

    def wait(self, job_id: str, on_event: Callable[[JobEvent], None] = ignore) -> JobView:
        """The job once it has succeeded, after `on_event` for each event. Raises JobFailedError otherwise."""
        for event in self.follow(job_id):
            on_event(event)
        job = self.job(job_id)
        if job.state is not State.SUCCEEDED:
            raise JobFailedError(job)
        return job

    def follow(self, job_id: str) -> Iterator[JobEvent]:
        """The events of a job as they happen, until it ends; resumes after a lost connection."""
        return follow_events(self._http, job_id, self._patience)

    def download(self, job: JobView, target: str | Path, file_format: Format | str | None = None) -> Path:
        """Download one of the job's files, the first by default. It appears once complete and verified."""
        with Download(job, Path(target), file_format) as download:
            for attempt in self._attempts(Retrying):
                with attempt, self._http.stream("GET", download.href, follow_redirects=True) as answer:
                    check(answer)
                    download.begin()
                    for block in answer.iter_bytes(BLOCK):
                        download.write(block)
                    download.finish()
        return download.target

    def jobs(self, state: State | str | None = None) -> Iterator[JobView]:
        """The caller's jobs, newest first."""
        cursor = None
        while True:
            page = self._run(calls.page(state, cursor))
            yield from page.jobs
            cursor = page.next_cursor
            if cursor is None:
                return

    def cancel(self, job_id: str) -> JobView:
        """Cancel an open job; of one that has ended, delete the files."""
        return self._run(calls.cancel(job_id))

    def models(self) -> list[dict[str, Any]]:
        """What `GET /models` lists: name, task, input and workers of each model."""
        return self._run(calls.models())

    def _note(self, _answer: httpx.Response) -> None:
        self._has_answered = True

    def _run(self, steps: calls.Calls[T]) -> T:
        with closing(calls.Exchange(steps)) as exchange:
            call = exchange.advance(None)
            while call is not None:
                call = exchange.advance(self._send(call))
            return exchange.result

    def _send(self, call: calls.Call) -> httpx.Response:
        for attempt in self._attempts(Retrying):
            with attempt:
                if call.to_store:
                    with httpx.Client(**STORE) as store:
                        answer = store.send(httpx.Request(call.method, call.url, **call.arguments))
                else:
                    answer = self._http.request(call.method, call.url, **call.arguments)
                check(answer)
        return answer
