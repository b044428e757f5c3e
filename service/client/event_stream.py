"""The events of a job as a client follows them."""

import time
from collections.abc import Iterator

import httpx
from httpx_sse import connect_sse

from service.client.retrying import ServiceError, check, unreachable
from service.core.jobs.record import JobEvent


def follow_events(http: httpx.Client, job_id: str, patience: float) -> Iterator[JobEvent]:
    """The events of a job as they happen, until it ends.

    A lost connection is resumed after the last event; raises ServiceError if that fails for `patience`
    seconds.
    """
    last = ""
    broken_since: float | None = None
    while True:
        headers = {"Last-Event-ID": last} if last else {}
        try:
            with connect_sse(http, "GET", f"/jobs/{job_id}/events", headers=headers) as source:
                check(source.response)
                if source.response.status_code == httpx.codes.NO_CONTENT:
                    return
                for message in source.iter_sse():
                    last, broken_since = message.id, None
                    event = JobEvent.model_validate_json(message.data)
                    yield event
                    if not event.state.open:
                        return
        except (httpx.TransportError, ServiceError) as error:
            fault = error if isinstance(error, ServiceError) else unreachable(error)
            broken_since = broken_since or time.monotonic()
            if not fault.is_passing or time.monotonic() - broken_since > patience:
                raise fault from None
            time.sleep(fault.retry_after or 0.5)
