"""`/jobs`: list, read, cancel and delete the caller's jobs."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from service.api.background.retention import delete_files
from service.api.dependencies import CallerDep, ContextDep, GatewayContext, JobAndPositionDep, JobDep, get_job
from service.api.http.etags import matches
from service.api.http.problems import Problem, keyed_responses
from service.api.waiting import DESCRIPTION, wait_as_preferred
from service.core.jobs.record import State
from service.core.jobs.stored import UnreadableRecord
from service.core.jobs.views import JobList, JobView, WebhookStatus, view

router = APIRouter(prefix="/jobs", tags=["jobs"])
CURSOR = "^[0-9]{1,18}-[0-9a-f]{32}$"
MAX_SCANNED = 1000  # records read per page, which bounds the time to filter by a rare state


@router.get(
    "",
    summary="List jobs, newest first",
    response_model_exclude_none=True,
    responses=keyed_responses("invalid_request"),
)
async def list_jobs(
    context: ContextDep,
    caller: CallerDep,
    response: Response,
    state: Annotated[State | None, Query(description="Return only jobs in this state.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Maximum number of jobs per page.")] = 20,
    cursor: Annotated[
        str | None, Query(pattern=CURSOR, description="`next_cursor` of the previous page.")
    ] = None,
) -> JobList:
    """The caller's jobs. If `next_cursor` is present there may be more, even after a short or empty page: a
    request with `state` scans at most 1000 jobs."""
    response.headers["Cache-Control"] = "private, no-cache"
    after = _parse_cursor(cursor)
    page, last = await context.record_calls.run(_page, context, caller.id, after, state, limit)
    next_cursor = f"{last[0]}-{last[1]}" if last else None
    if next_cursor:
        query = f"cursor={next_cursor}&limit={limit}" + (f"&state={state}" if state else "")
        response.headers["Link"] = f'</jobs?{query}>; rel="next"'
    return JobList(jobs=page, next_cursor=next_cursor)


def _page(
    context: GatewayContext, owner: str, after: tuple[int, str] | None, state: State | None, limit: int
) -> tuple[list[JobView], tuple[int, str] | None]:
    """A page of the owner's jobs, and the position of its last one if there may be more."""
    page: list[JobView] = []
    base = context.settings.public_url
    last = None
    found = context.jobs.newest(owner, after, count=limit if state is None else 100)
    for number, (position, job) in enumerate(found, 1):
        if len(page) == limit or number > MAX_SCANNED:
            break
        last = (position, job.id)
        if state in (None, job.state):
            page.append(view(job, base, context.jobs.queue_position(job)))
    else:
        last = None  # no more jobs
    return page, last


@router.get(
    "/{job_id}",
    summary="Get a job",
    response_model_exclude_none=True,
    responses={
        304: {"description": "The job has not changed since the `ETag` in `If-None-Match`"},
        **keyed_responses("not_found", "record_unreadable", "invalid_request"),
    },
)
async def read_job(
    job_and_position: JobAndPositionDep,
    context: ContextDep,
    response: Response,
    prefer: Annotated[
        str | None,
        Header(description=DESCRIPTION),
    ] = None,
    if_none_match: Annotated[str | None, Header(description="`ETag` of an earlier response.")] = None,
) -> JobView:
    """State, progress and result of a job. Poll at the interval given by `Retry-After`, or send
    `Prefer: wait=N`, until `state` is `succeeded`, `failed` or `canceled`."""
    job, position = job_and_position
    if waited := await wait_as_preferred(context, job, prefer, response):
        job = waited
        position = await context.record_calls.run(context.jobs.queue_position, job)
    webhook = None
    if job.webhook_url and not job.state.open:
        webhook = await context.record_calls.run(context.jobs.webhooks.status, job.id)
    sent = f"-{webhook.state}-{webhook.attempts}" if webhook else ""
    response.headers["ETag"] = etag = f'"{job.version}-{job.state}-{position or 0}{sent}"'
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Vary"] = "Prefer, Authorization"
    if job.state.open:
        response.headers["Retry-After"] = "1"
    if matches(if_none_match, etag):
        return Response(status_code=304, headers=dict(response.headers))  # type: ignore[return-value]
    return view(job, context.settings.public_url, position, webhook)


@router.post(
    "/{job_id}/webhook",
    summary="Send the webhook again",
    status_code=202,
    response_model_exclude_none=True,
    responses=keyed_responses("not_found", "record_unreadable", "invalid_request", "no_webhook"),
)
async def redeliver(job: JobDep, context: ContextDep) -> WebhookStatus:
    """Sends the event of an ended job once more, also after it was delivered or given up, as it was when the
    job ended. The event keeps its `webhook-id`, by which a receiver knows it."""
    webhooks = context.jobs.webhooks
    if await context.record_calls.run(webhooks.redeliver, job.id):
        status = await context.record_calls.run(webhooks.status, job.id)
        if status is not None:
            return status
    raise Problem("no_webhook", "The job has no webhook_url, or has not ended yet")


@router.delete(
    "/{job_id}",
    summary="Cancel a job or delete its files",
    response_model_exclude_none=True,
    responses=keyed_responses("not_found", "record_unreadable", "invalid_request", "storage_unavailable"),
)
async def delete_job(job_id: str, request: Request, context: ContextDep) -> JobView:
    """Cancels an open job; its worker stops within seconds. For an ended job, deletes its input and results
    and sets its state to `expired`. The files of a job whose record cannot be read are deleted as well."""
    try:
        job = await get_job(job_id, request, context)
    except UnreadableRecord:
        await context.file_calls.run(delete_files, context, job_id)
        raise
    canceled = await context.record_calls.run(context.jobs.cancel, job.id)
    if canceled is not None:
        return view(canceled, context.settings.public_url)
    await context.file_calls.run(delete_files, context, job.id)
    deleted = await context.record_calls.run(context.jobs.get, job.id)
    return view(deleted or job, context.settings.public_url)


def _parse_cursor(cursor: str | None) -> tuple[int, str] | None:
    """Creation time in microseconds since the epoch and id of the last job scanned."""
    if cursor is None:
        return None
    position, _, job_id = cursor.partition("-")
    return int(position), job_id
