"""Client of the HTTP API for Python programs.

    with Client("http://127.0.0.1:8000", key="oflow_…") as service:
        job = service.reconstruct("jump.npz", formats=["glb"], color="correspondence")
        job = service.wait(job.id)
        service.download(job, "jump.glb")

Requests are repeated for `patience` seconds while the server is busy or the connection fails; a submission
carries an idempotency key, so that it never creates two jobs.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from io import SEEK_END
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import httpx

from service.client.event_stream import follow_events
from service.client.retrying import ServiceError, attempts, base_url, check
from service.client.transfers import fetch, file_of, post_to_store
from service.core.jobs.formats import Format
from service.core.jobs.record import JobEvent, State
from service.core.jobs.views import JobList, JobView
from service.core.sequences.sources import find_source, is_url

ADDRESS = "http://127.0.0.1:8000"
UPLOAD_ABOVE = 16 * 2**20  # bytes; larger files go directly to the object store
CONNECT = 5.0  # seconds to open a connection


class JobFailedError(Exception):
    """A job that ended without a result."""

    def __init__(self, job: JobView) -> None:
        super().__init__(job.error.message if job.error else f"the job was {job.state}")
        self.job = job


class Client:
    """The routes of a server as methods. Close it, or use it in a `with` block.

    Raises ServiceError when a request is refused or the server cannot be reached.
    """

    def __init__(
        self,
        address: str = ADDRESS,
        key: str | None = None,
        *,
        timeout: float = 30,
        patience: float = 60,
        upload_above: int = UPLOAD_ABOVE,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._has_answered = False
        self._http = httpx.Client(
            base_url=base_url(address),
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT)),
            trust_env=False,  # proxies of the environment are for the internet, not for a server nearby
            event_hooks={"response": [self._note]},
        )
        self._patience = patience
        self._upload_above = upload_above

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        return str(self._http.base_url).rstrip("/")

    def close(self) -> None:
        self._http.close()

    def reconstruct(self, source: str | Path | Sequence[str | Path], **options: Any) -> JobView:
        """Submit a sequence with options of `POST /reconstruct`; returns the queued job.

        `source` is a file, a folder or pattern of frames, several frames, a ROS bag with its `topic`, or a
        URL that the server fetches. Raises SourceError if it is nothing of these.
        """
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        topic = options.pop("topic", None)
        given = {name: value for name, value in options.items() if value is not None}
        sources = [source] if isinstance(source, str | Path) else list(source)
        if len(sources) == 1 and is_url(sources[0]):
            body = {"source_url": str(sources[0]), **given}
            answer = self._send("POST", "/reconstruct", json=body, headers=headers, timeout=150)
            return JobView.model_validate(answer.json())
        found = find_source(sources)
        with found.open(topic) as file:
            size = file.seek(0, SEEK_END)
            file.seek(0)
            if size > self._upload_above:
                body = {"name": found.name, **given, "upload_id": self._upload(file, size)}
                answer = self._send("POST", "/reconstruct", json=body, headers=headers)
            else:
                fields = {name: _field(value) for name, value in given.items()}
                files = {"file": (found.name, file.read())}
                answer = self._send("POST", "/reconstruct", files=files, data=fields, headers=headers)
        return JobView.model_validate(answer.json())

    def job(self, job_id: str, wait: int = 0) -> JobView:
        """A job as it is; with `wait`, once it has ended or after that many seconds (at most 60)."""
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        answer = self._send("GET", f"/jobs/{job_id}", headers=headers, timeout=wait + 30)
        return JobView.model_validate(answer.json())

    def wait(self, job_id: str, on_event: Callable[[JobEvent], None] = lambda _: None) -> JobView:
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
        file, target = file_of(job, file_format), Path(target)
        part = target.with_name(f".{target.name}.part")
        try:
            for attempt in attempts(self._patience, lambda: self._has_answered):
                with attempt:
                    fetch(self._http, file, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def jobs(self, state: State | str | None = None) -> Iterator[JobView]:
        """The caller's jobs, newest first."""
        query: dict[str, str] = {"state": str(state)} if state else {}
        while True:
            page = JobList.model_validate(self._send("GET", "/jobs", params=query).json())
            yield from page.jobs
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def cancel(self, job_id: str) -> JobView:
        """Cancel an open job; of one that has ended, delete the files."""
        return JobView.model_validate(self._send("DELETE", f"/jobs/{job_id}").json())

    def models(self) -> list[dict[str, Any]]:
        """What `GET /models` lists: name, task, input and workers of each model."""
        return list(self._send("GET", "/models").json())

    def _note(self, _answer: httpx.Response) -> None:
        self._has_answered = True

    def _upload(self, file: BinaryIO, size: int) -> str:
        """Send a file directly to the object store; returns the id of the upload."""
        form = self._send("POST", "/uploads").json()
        if size > form["max_bytes"]:
            found, most = size / 2**20, form["max_bytes"] / 2**20
            raise ServiceError(
                f"the input is {found:.0f} MiB in size; the server accepts at most {most:.0f} MiB",
                "too_large",
            )
        for attempt in attempts(self._patience, lambda: self._has_answered):
            with attempt:
                file.seek(0)
                post_to_store(form, file)
        return str(form["upload_id"])

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        for attempt in attempts(self._patience, lambda: self._has_answered):
            with attempt:
                answer = self._http.request(method, path, **request)
                check(answer)
        return answer


def _field(value: Any) -> Any:
    """An option as a form field."""
    if isinstance(value, dict):
        return json.dumps(value)
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value
