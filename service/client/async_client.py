"""Client of the HTTP API for programs that use asyncio (or trio): `Client` with coroutines.

    async with AsyncClient("http://127.0.0.1:8000", key="oflow_…") as service:
        job = await service.reconstruct("jump.npz", formats=["glb"], color="correspondence")
        async for event in service.follow(job.id):
            print(event.progress.percent)
        await service.download(await service.job(job.id), "jump.glb")

Files are read and written in threads, so that the event loop stays free.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from anyio.to_thread import run_sync
from tenacity import AsyncRetrying

from service.client import calls
from service.client.connection import STORE, Connection, JobFailedError
from service.client.event_stream import follow_events_async, ignore
from service.client.retrying import check_async
from service.client.transfers import BLOCK, Download
from service.core.jobs.formats import Format
from service.core.jobs.record import JobEvent, State
from service.core.jobs.views import JobView

T = TypeVar("T")


class AsyncClient(Connection[httpx.AsyncClient]):
    """The methods of `Client` as coroutines. Close it, or use it in an `async with` block.

    Raises ServiceError when a request is refused or the server cannot be reached.
    """

    _kind = httpx.AsyncClient

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def reconstruct(self, source: str | Path | Sequence[str | Path], **options: Any) -> JobView:
        """Submit a sequence; see `Client.reconstruct`. Raises SourceError."""
        return await self._run(calls.reconstruct(source, options, self._upload_above))

    async def job(self, job_id: str, wait: int = 0) -> JobView:
        """A job as it is; with `wait`, once it has ended or after that many seconds (at most 60)."""
        return await self._run(calls.job(job_id, wait))

    async def wait(self, job_id: str, on_event: Callable[[JobEvent], None] = ignore) -> JobView:
        """The job once it has succeeded, after `on_event` for each event. Raises JobFailedError otherwise."""
        async for event in self.follow(job_id):
            on_event(event)
        job = await self.job(job_id)
        if job.state is not State.SUCCEEDED:
            raise JobFailedError(job)
        return job

    def follow(self, job_id: str) -> AsyncIterator[JobEvent]:
        """The events of a job as they happen, until it ends; resumes after a lost connection."""
        return follow_events_async(self._http, job_id, self._patience)

    async def download(
        self, job: JobView, target: str | Path, file_format: Format | str | None = None
    ) -> Path:
        """Download one of the job's files, the first by default. It appears once complete and verified."""
        with Download(job, Path(target), file_format) as download:
            async for attempt in self._attempts(AsyncRetrying):
                with attempt:
                    async with self._http.stream("GET", download.href, follow_redirects=True) as answer:
                        await check_async(answer)
                        download.begin()
                        async for block in answer.aiter_bytes(BLOCK):
                            await run_sync(download.write, block)
                        download.finish()
        return download.target

    async def jobs(self, state: State | str | None = None) -> AsyncIterator[JobView]:
        """The caller's jobs, newest first."""
        cursor = None
        while True:
            page = await self._run(calls.page(state, cursor))
            for job in page.jobs:
                yield job
            cursor = page.next_cursor
            if cursor is None:
                return

    async def cancel(self, job_id: str) -> JobView:
        """Cancel an open job; of one that has ended, delete the files."""
        return await self._run(calls.cancel(job_id))

    async def models(self) -> list[dict[str, Any]]:
        """What `GET /models` lists: name, task, input and workers of each model."""
        return await self._run(calls.models())

    async def _note(self, _answer: httpx.Response) -> None:
        self._has_answered = True

    async def _run(self, steps: calls.Calls[T]) -> T:
        with closing(calls.Exchange(steps)) as exchange:
            call = await run_sync(exchange.advance, None)
            while call is not None:
                call = await run_sync(exchange.advance, await self._send(call))
            return exchange.result

    async def _send(self, call: calls.Call) -> httpx.Response:
        async for attempt in self._attempts(AsyncRetrying):
            with attempt:
                if call.to_store:
                    async with httpx.AsyncClient(**STORE) as store:
                        answer = await store.send(httpx.Request(call.method, call.url, **call.arguments))
                else:
                    answer = await self._http.request(call.method, call.url, **call.arguments)
                await check_async(answer)
        return answer
