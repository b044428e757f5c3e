"""`/jobs/{id}` and its files."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from service.deps import JobDep, PartsDep
from service.jobs import Job, ResultFile, State
from service.options import Format
from service.problems import Problem, responses
from service.views import JobView, view

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get(
    "/{job_id}",
    summary="The state of a job",
    response_model_exclude_none=True,
    responses=responses("not_found", "invalid_request", "queue_unavailable"),
)
def read_job(job: JobDep, parts: PartsDep, response: Response) -> JobView:
    """Poll this until `state` is `succeeded`, `failed` or `canceled`; `Retry-After` says how soon."""
    position = parts.jobs.queue_position(job) if job.state is State.QUEUED else None
    if job.state.open:
        response.headers["Retry-After"] = "1"
    response.headers["Cache-Control"] = "no-store"
    return view(job, position)


@router.get(
    "/{job_id}/result",
    summary="Download a result file",
    status_code=307,
    response_class=Response,
    responses={
        200: {
            "description": "The file itself, with `redirect=false`",
            "content": {"application/octet-stream": {}},
        },
        206: {"description": "The part of the file that `Range` asked for", "content": {}},
        307: {"description": "`Location` is a URL that downloads the file, without credentials, for a while"},
        **responses(
            "not_found",
            "invalid_request",
            "job_not_done",
            "job_has_no_result",
            "job_expired",
            "storage_unavailable",
        ),
    },
)
def read_result(
    job: JobDep,
    parts: PartsDep,
    request: Request,
    file_format: Annotated[
        Format | None, Query(alias="format", description="One of the job's formats.")
    ] = None,
    redirect: Annotated[bool, Query(description="false: the bytes come from here.")] = True,
) -> Response:
    """The mesh sequence. Without `format`, the first one that the job asked for."""
    file = _find(job, file_format)
    filename = f"oflow-{job.id[:8]}.{file.name.split('.', 1)[1]}"
    key = job.result_key(file.name)
    if redirect:
        left = int((job.expires_at - datetime.now(UTC)).total_seconds())
        return RedirectResponse(parts.store.presign(key, filename, left), 307, {"Cache-Control": "no-store"})
    headers, status, chunks = parts.store.open(key, request.headers.get("range"))
    headers |= {"ETag": f'"{file.sha256}"', "Content-Disposition": f'attachment; filename="{filename}"'}
    return StreamingResponse(chunks, status, headers)


def _find(job: Job, wanted: Format | None) -> ResultFile:
    if job.state.open:
        raise Problem("job_not_done", f"The job is {job.state}", job_id=job.id, headers={"Retry-After": "1"})
    if job.state is State.EXPIRED:
        raise Problem("job_expired", f"The job's files were deleted at {job.expires_at:%Y-%m-%d %H:%M} UTC")
    if job.result is None:
        why = job.error.message if job.error else f"The job was {job.state}"
        raise Problem("job_has_no_result", why, job_id=job.id)
    for file in job.result.files:
        if wanted in (None, file.format):
            return file
    made = ", ".join(file.format for file in job.result.files)
    raise Problem("not_found", f"The job has no {wanted} file: it made {made}", job_id=job.id)
