"""`/jobs`: the caller's jobs, one of them, and its end."""

import re
import time
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from starlette.concurrency import run_in_threadpool

from service.api.background.retention import delete_files
from service.api.dependencies import CallerDep, GatewayContext, JobDep, PartsDep, PlacedJobDep
from service.api.http.etags import matches
from service.api.http.problems import keyed_responses
from service.api.subscriptions import changed
from service.core.jobs.record import Job, State
from service.core.jobs.views import JobList, JobView, view

router = APIRouter(prefix="/jobs", tags=["jobs"])
MAX_WAIT = 60  # seconds
CURSOR = "^[0-9]{1,18}-[0-9a-f]{32}$"
LOOK_AGAIN = 5.0  # seconds, should a word of the change have been lost
SCANNED = 1000  # records looked at for one page, so that a rare state does not take for ever
WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.I | re.ASCII)


@router.get(
    "",
    summary="The caller's jobs, newest first",
    response_model_exclude_none=True,
    responses=keyed_responses("invalid_request"),
)
def list_jobs(
    context: PartsDep,
    caller: CallerDep,
    response: Response,
    state: Annotated[State | None, Query(description="Only jobs in this state.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Jobs on a page, at most.")] = 20,
    cursor: Annotated[
        str | None, Query(pattern=CURSOR, description="`next_cursor` of the page before.")
    ] = None,
) -> JobList:
    """There are more where `next_cursor` is given, even if a page is short or empty: with `state`, at most
    1000 jobs are looked through for one page."""
    page: list[JobView] = []
    here = None
    found = context.jobs.newest(caller.id, _place(cursor), count=limit if state is None else 100)
    for number, (place, job) in enumerate(found, 1):
        if len(page) == limit or number > SCANNED:
            break
        here = (place, job.id)
        if state in (None, job.state):
            page.append(view(job, context.jobs.queue_position(job)))
    else:
        here = None  # that was all
    following = f"{here[0]}-{here[1]}" if here else None
    if following:
        query = f"cursor={following}&limit={limit}" + (f"&state={state}" if state else "")
        response.headers["Link"] = f'</jobs?{query}>; rel="next"'
    return JobList(jobs=page, next_cursor=following)


@router.get(
    "/{job_id}",
    summary="The state of a job",
    response_model_exclude_none=True,
    responses={
        304: {"description": "The job is as it was at the `ETag` in `If-None-Match`"},
        **keyed_responses("not_found", "invalid_request"),
    },
)
async def read_job(
    placed: PlacedJobDep,
    context: PartsDep,
    response: Response,
    prefer: Annotated[
        str | None,
        Header(description="`wait=N`: answer when the job has ended, after N seconds (60) at the latest."),
    ] = None,
    if_none_match: Annotated[str | None, Header(description="The `ETag` of an earlier answer.")] = None,
) -> JobView:
    """Poll this until `state` is `succeeded`, `failed` or `canceled`, or wait. `Retry-After` says when."""
    job, position = placed
    wanted = WAIT.search(prefer or "")
    if wanted and context.may_hold(job.owner):  # else it is answered at once
        seconds = min(int(wanted[1]), MAX_WAIT)
        response.headers["Preference-Applied"] = f"wait={seconds}"
        job = await _wait(context, job, seconds)
        position = await run_in_threadpool(context.jobs.queue_position, job)
    response.headers["ETag"] = etag = f'"{job.version}-{job.state}-{position or 0}"'
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Vary"] = "Prefer, Authorization"
    if job.state.open:
        response.headers["Retry-After"] = "1"
    if matches(if_none_match, etag):
        return Response(status_code=304, headers=dict(response.headers))  # type: ignore[return-value]
    return view(job, position)


@router.delete(
    "/{job_id}",
    summary="Cancel a job, or delete the files of an ended one",
    response_model_exclude_none=True,
    responses=keyed_responses("not_found", "invalid_request", "storage_unavailable"),
)
def delete_job(job: JobDep, context: PartsDep) -> JobView:
    """An open job is `canceled` from now on; its worker stops within seconds. An ended one is `expired`, and
    its input and results are gone."""
    canceled = context.jobs.cancel(job.id)
    if canceled is not None:
        return view(canceled)
    delete_files(context, job.id)
    return view(context.jobs.get(job.id) or job)


async def _wait(context: GatewayContext, job: Job, seconds: float) -> Job:
    """The job once it has ended, or as it is after so many seconds."""
    end = time.monotonic() + seconds
    with context.subscriptions.subscribe(job.id, job.owner) as event:
        while True:
            now = await run_in_threadpool(context.jobs.get, job.id)
            job = now or job
            left = end - time.monotonic()
            if not job.state.open or left <= 0 or context.subscriptions.closing:
                return job
            await changed(event, min(left, LOOK_AGAIN))


def _place(cursor: str | None) -> tuple[int, str] | None:
    """Microseconds since 1970 and id of the last job that was looked at."""
    if cursor is None:
        return None
    place, _, job_id = cursor.partition("-")
    return int(place), job_id
