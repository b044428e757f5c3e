"""`Prefer: wait=N` (RFC 7240): an answer that is held until a job has ended."""

import re
import time

from fastapi import Response

from service.api.dependencies import GatewayContext
from service.api.subscriptions import changed
from service.core.jobs.record import Job

MAX_WAIT = 60  # seconds
DESCRIPTION = "`wait=N`: respond when the job ends, or after N seconds (at most 60)."
_RECHECK_SECONDS = 5.0  # in case a notification was lost
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,18})\"?\s*(?:$|[,;])", re.I | re.ASCII)


async def wait_as_preferred(
    context: GatewayContext, job: Job, prefer: str | None, response: Response
) -> Job | None:
    """The job once it has ended or the time is up; None, at once, if `prefer` does not ask for this or too
    many answers are being held for the job's owner."""
    wait = _WAIT.search(prefer or "")
    if not wait or not context.can_open_stream(job.owner):
        return None
    seconds = min(int(wait[1]), MAX_WAIT)
    response.headers["Preference-Applied"] = f"wait={seconds}"
    end = time.monotonic() + seconds
    with context.subscriptions.subscribe(job.id, job.owner) as event:
        while True:
            current = await context.record_calls.run(context.jobs.get, job.id)
            job = current or job
            remaining = end - time.monotonic()
            if not job.state.open or remaining <= 0 or context.subscriptions.closing:
                return job
            await changed(event, min(remaining, _RECHECK_SECONDS))
