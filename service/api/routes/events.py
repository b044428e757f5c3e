"""`/jobs/{id}/events`: state and progress changes of a job as server-sent events."""

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from service.api.dependencies import ContextDep, GatewayContext, JobDep
from service.api.http.problems import REF, Problem, keyed_responses
from service.api.subscriptions import changed
from service.core.jobs.events import ends
from service.core.jobs.record import Job

router = APIRouter(prefix="/jobs", tags=["jobs"])
HEARTBEAT = 15.0  # seconds without an event
RECHECK_SECONDS = 5.0  # in case a notification was lost
EXAMPLE = """\
id: 7
event: progress
data: {"state":"running","progress":{"stage":"extract","percent":31.5,"eta_seconds":2.4},"attempt":1,\
"at":"2030-01-01T12:00:00Z"}

"""
DATA = {
    "type": "string",
    "contentMediaType": "application/json",
    "contentSchema": {"$ref": REF.format(model="JobEvent")},
}
EVENT = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {"id": {"type": "string"}, "event": {"enum": ["state", "progress"]}, "data": DATA},
}
STREAM: dict[str, Any] = {
    "description": "Stream of `state` and `progress` events with JobEvent data. Closes when the job ends.",
    "content": {
        "text/event-stream": {"schema": EVENT, "example": EXAMPLE},
    },
}


@router.get(
    "/{job_id}/events",
    summary="Stream job events",
    response_class=Response,
    responses={
        200: STREAM,
        204: {"description": "The job has ended and its last event was received: do not reconnect"},
        **keyed_responses("not_found", "record_unreadable", "invalid_request", "too_many_streams"),
    },
)
async def follow_job(
    job: JobDep,
    context: ContextDep,
    request: Request,
    last_event_id: Annotated[
        int,
        Header(ge=0, le=2**53, description="Resume after this event; browsers send it when they reconnect."),
    ] = 0,
) -> Response:
    """Server-sent events for every state and progress change, starting with the first. A heartbeat comment is
    sent after 15 seconds without an event."""
    if not job.state.open and last_event_id >= job.version:
        return Response(status_code=204)
    if not context.can_open_stream(job.owner):
        limit = context.settings.open_streams
        detail = f"The key has {limit} responses waiting for jobs, its maximum: close one or retry later"
        raise Problem("too_many_streams", detail, headers={"Retry-After": str(int(HEARTBEAT))})
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(context, job, last_event_id, getattr(request.state, "key", "")),
        headers=headers,
        media_type="text/event-stream",
    )


async def _events(context: GatewayContext, job: Job, number: int, key_id: str = "") -> AsyncIterator[bytes]:
    silence, checked = 0.0, time.monotonic()
    with context.subscriptions.subscribe(job.id, job.owner) as event:
        while True:
            ended = False
            for number, name, data in await context.record_calls.run(_read, context, job.id, number):  # noqa: B020
                yield format_sse_event(id=str(number), event=name, data_str=data)
                ended, silence = ends(data), 0.0
            if ended or context.subscriptions.closing:
                return
            if key_id and time.monotonic() - checked > RECHECK_SECONDS:
                checked = time.monotonic()
                if not await context.record_calls.run(context.keys.is_active, key_id):
                    return
            if not await changed(event, RECHECK_SECONDS):
                silence += RECHECK_SECONDS
                current = await context.record_calls.run(context.jobs.get, job.id)
                if current is None or (not current.state.open and current.version <= number):
                    return
            if silence >= HEARTBEAT:
                yield KEEPALIVE_COMMENT
                silence = 0.0


def _read(context: GatewayContext, job_id: str, number: int) -> list[tuple[int, str, str]]:
    return list(context.jobs.events.after(job_id, number))
