"""A client of the gateway, for programs.

    with Client("http://127.0.0.1:8000", key="oflow_…") as service:
        job = service.reconstruct("jump.npz", formats=["glb"], color="correspondence")
        job = service.wait(job.id)
        service.download(job, "jump.glb")

Requests are sent again when the server is busy or the line breaks, as often as `patience` seconds allow; a
submission carries an idempotency key, so that it never makes two jobs.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from service.client.retrying import ServiceError, attempts, check, words
from service.core.jobs.formats import Format
from service.core.jobs.record import JobEvent, State
from service.core.jobs.views import FileView, JobList, JobView

ADDRESS = "http://127.0.0.1:8000"
UPLOAD_ABOVE = 16 * 2**20  # bytes; larger files go straight to the object store
BLOCK = 2**20


class JobFailedError(Exception):
    """A job that ended without a result."""

    def __init__(self, job: JobView) -> None:
        super().__init__(job.error.message if job.error else f"the job was {job.state}")
        self.job = job


class Client:
    """The routes of a gateway as methods. Close it, or use it in a `with` block."""

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
        # Proxies of the environment are for the internet, not for a gateway on this machine or network.
        self._http = httpx.Client(base_url=address, headers=headers, timeout=timeout, trust_env=False)
        self._patience = patience
        self._upload_above = upload_above

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def reconstruct(self, source: str | Path, **options: Any) -> JobView:
        """Submit a sequence, .npz or .zip, with the options of `POST /reconstruct`: the queued job."""
        path = Path(source)
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        given = {name: value for name, value in options.items() if value is not None}
        if path.stat().st_size > self._upload_above:
            body = {"upload_id": self._upload(path), **given}
            answer = self._send("POST", "/reconstruct", json=body, headers=headers)
        else:
            content = path.read_bytes()
            fields = {name: _field(value) for name, value in given.items()}
            files = {"file": (path.name, content)}
            answer = self._send("POST", "/reconstruct", files=files, data=fields, headers=headers)
        return JobView.model_validate(answer.json())

    def job(self, job_id: str, wait: int = 0) -> JobView:
        """The job as it is; with `wait`, when it has ended or so many seconds (60 at most) have passed."""
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        answer = self._send("GET", f"/jobs/{job_id}", headers=headers, timeout=wait + 30)
        return JobView.model_validate(answer.json())

    def wait(self, job_id: str, told: Callable[[JobEvent], None] = lambda _: None) -> JobView:
        """The job once it has succeeded; `told` gets all events. Raises JobFailedError if it ends badly."""
        for event in self.follow(job_id):
            told(event)
        job = self.job(job_id)
        if job.state is not State.SUCCEEDED:
            raise JobFailedError(job)
        return job

    def follow(self, job_id: str) -> Iterator[JobEvent]:
        """What happens to a job, as it happens, until it ends; goes on where a broken line left off."""
        last = 0
        broken_since: float | None = None
        while True:
            headers = {"Last-Event-ID": str(last), "Accept": "text/event-stream"}
            try:
                with self._http.stream("GET", f"/jobs/{job_id}/events", headers=headers) as answer:
                    check(answer)
                    if answer.status_code == httpx.codes.NO_CONTENT:
                        return
                    for number, event in _events(answer.iter_lines()):
                        last, broken_since = number, None
                        yield event
                        if not event.state.open:
                            return
            except (httpx.TransportError, ServiceError) as error:
                told = f"{self._http.base_url} does not answer: {words(error)}"
                fault = error if isinstance(error, ServiceError) else ServiceError(told)
                broken_since = broken_since or time.monotonic()
                if not fault.is_passing or time.monotonic() - broken_since > self._patience:
                    raise fault from None
                time.sleep(fault.retry_after or 0.5)

    def download(self, job: JobView, target: str | Path, file_format: Format | str | None = None) -> Path:
        """Write one of the job's files, the first one by default; there is no file unless it is whole."""
        file, target = _file_of(job, file_format), Path(target)
        part = target.with_name(f".{target.name}.part")
        try:
            for attempt in attempts(self._patience):
                with attempt:
                    self._fetch(file, part)
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

    def _upload(self, path: Path) -> str:
        """Send a file past the gateway; returns the id to name it by."""
        form = self._send("POST", "/uploads").json()
        if path.stat().st_size > form["max_bytes"]:
            size, most = path.stat().st_size / 2**20, form["max_bytes"] / 2**20
            raise ServiceError(f"{path} has {size:.0f} MiB; the server takes {most:.0f}", "too_large")
        for attempt in attempts(self._patience):
            with attempt, path.open("rb") as file:
                # Without the caller's key: the form is its own credential, and the store is another server.
                answer = httpx.post(
                    form["url"], data=form["fields"], files={"file": file}, timeout=300, trust_env=False
                )
                check(answer)
        return str(form["upload_id"])

    def _fetch(self, file: FileView, part: Path) -> None:
        digest = hashlib.sha256()
        with self._http.stream("GET", file.href, follow_redirects=True) as answer, part.open("wb") as target:
            check(answer)
            for block in answer.iter_bytes(BLOCK):
                digest.update(block)
                target.write(block)
        if digest.hexdigest() != file.sha256:
            raise ServiceError(
                f"{file.name} arrived damaged: its SHA-256 is not the one in the job", "damaged"
            )

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        for attempt in attempts(self._patience):
            with attempt:
                answer = self._http.request(method, path, **request)
                check(answer)
        return answer


def _field(value: Any) -> Any:
    """An option as a form field."""
    if isinstance(value, dict):
        return json.dumps(value)
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _file_of(job: JobView, wanted: Format | str | None) -> FileView:
    files = job.result.files if job.result else []
    for file in files:
        if wanted in (None, file.format):
            return file
    made = ", ".join(file.format for file in files) or "none"
    raise ServiceError(f"the job has no {wanted or 'file'}; it made {made}", "not_found")


def _events(lines: Iterator[str]) -> Iterator[tuple[int, JobEvent]]:
    """Number and data of server-sent events."""
    number, data = 0, ""
    for line in lines:
        name, _, value = line.partition(":")
        if name == "id":
            number = int(value)
        elif name == "data":
            data += value
        elif not line and data:
            yield number, JobEvent.model_validate_json(data)
            data = ""
