"""The events of a job as a client follows them."""

import time
from collections.abc import AsyncIterator, Iterator

import anyio
import httpx
from httpx_sse import ServerSentEvent, aconnect_sse, connect_sse

from service.client.retrying import ServiceError, check, check_async, unreachable
from service.core.jobs.record import JobEvent

PAUSE = 0.5  # seconds before a lost connection is resumed


def ignore(_event: JobEvent) -> None:
    """What a caller does with an event who waits for the end alone."""


class _Stream:
    """Where to resume, and since when there has been no event."""

    def __init__(self, job_id: str, patience: float) -> None:
        self.path = f"/jobs/{job_id}/events"
        self.headers: dict[str, str] = {}
        self._patience = patience
        self._broken_since: float | None = None

    def read(self, message: ServerSentEvent) -> JobEvent:
        self.headers, self._broken_since = {"Last-Event-ID": message.id}, None
        return JobEvent.model_validate_json(message.data)

    def pause(self, error: httpx.TransportError | ServiceError) -> float:
        """Seconds to wait before the next attempt. Raises ServiceError if there is to be none."""
        fault = error if isinstance(error, ServiceError) else unreachable(error)
        self._broken_since = self._broken_since or time.monotonic()
        if not fault.is_passing or time.monotonic() - self._broken_since > self._patience:
            raise fault from None
        return fault.retry_after or PAUSE


def follow_events(http: httpx.Client, job_id: str, patience: float) -> Iterator[JobEvent]:
    """The events of a job as they happen, until it ends.

    A lost connection is resumed after the last event; raises ServiceError if that fails for `patience`
    seconds.
    """
    stream = _Stream(job_id, patience)
    while True:
        try:
            with connect_sse(http, "GET", stream.path, headers=stream.headers) as source:
                check(source.response)
                if source.response.status_code == httpx.codes.NO_CONTENT:
                    return
                for message in source.iter_sse():
                    event = stream.read(message)
                    yield event
                    if not event.state.open:
                        return
        except (httpx.TransportError, ServiceError) as error:
            time.sleep(stream.pause(error))


async def follow_events_async(
    http: httpx.AsyncClient, job_id: str, patience: float
) -> AsyncIterator[JobEvent]:
    """`follow_events` with coroutines."""
    stream = _Stream(job_id, patience)
    while True:
        try:
            async with aconnect_sse(http, "GET", stream.path, headers=stream.headers) as source:
                await check_async(source.response)
                if source.response.status_code == httpx.codes.NO_CONTENT:
                    return
                async for message in source.aiter_sse():
                    event = stream.read(message)
                    yield event
                    if not event.state.open:
                        return
        except (httpx.TransportError, ServiceError) as error:
            await anyio.sleep(stream.pause(error))
