"""`/jobs/{id}/events`: what happens to a job, as it happens."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.concurrency import run_in_threadpool

from service.api.dependencies import GatewayContext, JobDep, PartsDep
from service.api.http.problems import REF, Problem, keyed_responses
from service.api.subscriptions import changed
from service.core.jobs.events import ends
from service.core.jobs.record import Job

router = APIRouter(prefix="/jobs", tags=["jobs"])
HEARTBEAT = 15.0  # seconds without an event
LOOK_AGAIN = 5.0  # seconds, should a word of the change have been lost
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
EVENT = {  # the fields of each
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {"id": {"type": "string"}, "event": {"enum": ["state", "progress"]}, "data": DATA},
}
STREAM: dict[str, Any] = {
    "description": "Events `state` and `progress`, whose data is a JobEvent. It ends with the job.",
    "content": {
        "text/event-stream": {"schema": EVENT, "example": EXAMPLE},
    },
}


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=Response,
    responses={
        200: STREAM,
        204: {"description": "The job has ended, and its last event was seen: come no more"},
        **keyed_responses("not_found", "invalid_request", "too_many_streams"),
    },
)
async def follow_job(
    job: JobDep,
    context: PartsDep,
    last_event_id: Annotated[
        int, Header(ge=0, le=2**53, description="Only events after this one; browsers send it by themselves.")
    ] = 0,
) -> Response:
    """Server-sent events, from the first one on, of every change of state and progress. A heartbeat comes
    every 15 seconds."""
    if not job.state.open and last_event_id >= job.version:
        return Response(status_code=204)
    if not context.may_hold(job.owner):
        told = f"The key has {context.settings.held_answers} answers open that wait for its jobs"
        raise Problem("too_many_streams", told, headers={"Retry-After": str(int(HEARTBEAT))})
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(context, job, last_event_id), headers=headers, media_type="text/event-stream"
    )


async def _events(context: GatewayContext, job: Job, number: int) -> AsyncIterator[bytes]:
    silence = 0.0
    with context.subscriptions.subscribe(job.id, job.owner) as event:
        while True:
            ended = False
            for number, name, data in await run_in_threadpool(_read, context, job.id, number):  # noqa: B020
                yield format_sse_event(id=str(number), event=name, data_str=data)
                ended, silence = ends(data), 0.0
            if ended or context.subscriptions.closing:
                return
            if not await changed(event, LOOK_AGAIN):
                silence += LOOK_AGAIN
                now = await run_in_threadpool(context.jobs.get, job.id)
                if now is None or (not now.state.open and now.version <= number):
                    return
            if silence >= HEARTBEAT:
                yield KEEPALIVE_COMMENT
                silence = 0.0


def _read(context: GatewayContext, job_id: str, number: int) -> list[tuple[int, str, str]]:
    return list(context.jobs.events.after(job_id, number))
