"""`/jobs/{id}/result`: download a job's result files."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import RedirectResponse

from service.api.dependencies import ContextDep, JobDep
from service.api.http.downloads import Conditions, StoredFile, require_stored, send, unchanged
from service.api.http.problems import Problem, keyed_responses
from service.core.jobs.formats import Format
from service.core.jobs.record import Job, State
from service.core.jobs.results import Result, ResultFile

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get(
    "/{job_id}/result",
    summary="Download a result file",
    status_code=307,
    response_class=Response,
    responses={
        200: {
            "description": "The file, with `redirect=false`",
            "content": {
                media_type: {"schema": {"type": "string", "format": "binary"}}
                for media_type in ("model/gltf-binary", "application/zip", "application/octet-stream")
            },
        },
        206: {"description": "The requested byte range"},
        304: {"description": "The file has not changed since the `ETag` in `If-None-Match`"},
        307: {"description": "`Location` is a presigned URL that downloads the file for a limited time"},
        **keyed_responses(
            "not_found",
            "record_unreadable",
            "invalid_request",
            "job_not_done",
            "job_has_no_result",
            "job_expired",
            "result_lost",
            "range_not_satisfiable",
            "storage_unavailable",
        ),
    },
)
async def read_result(
    request: Request,
    job: JobDep,
    context: ContextDep,
    file_format: Annotated[
        Format | None, Query(alias="format", description="One of the job's formats; by default the first.")
    ] = None,
    redirect: Annotated[bool, Query(description="Set to false to receive the file from the gateway.")] = True,
    byte_range: Annotated[
        str | None, Header(alias="Range", description="With `redirect=false`: a single range, `bytes=0-99`.")
    ] = None,
    if_range: Annotated[str | None, Header(description="Apply `Range` only if the `ETag` matches.")] = None,
    if_none_match: Annotated[str | None, Header(description="`ETag` of your copy of the file.")] = None,
) -> Response:
    """The reconstructed mesh sequence in one of the job's formats."""
    found = _find(job, file_format)
    filename = f"oflow-{job.id[:8]}.{found.name.split('.', 1)[1]}"
    file = StoredFile(job.result_key(found.name), found.bytes, found.sha256, filename, job.id)
    conditions = Conditions(byte_range, if_range, if_none_match)
    if not redirect and (answer := unchanged(file, conditions)):
        return answer
    await require_stored(context.store, context.file_calls, file, "result_lost")
    if redirect:
        is_head = getattr(request.state, "is_head", False)
        left = int((job.expires_at - datetime.now(UTC)).total_seconds())
        return RedirectResponse(
            context.store.presign(file.key, filename, left, head=is_head), 307, {"Cache-Control": "no-store"}
        )
    return await send(context.store, context.file_calls, file, conditions)


def require_files(job: Job) -> None:
    """Raise Problem `job_expired` if the files of the job have been deleted."""
    if job.state is State.EXPIRED:
        detail = f"The job's files were deleted at {job.expires_at:%Y-%m-%d %H:%M} UTC"
        raise Problem("job_expired", detail, job_id=job.id)


def result_of(job: Job) -> Result:
    """The result of a job that has one; otherwise raises the Problem that says why not."""
    if job.state.open:
        raise Problem("job_not_done", f"The job is {job.state}", job_id=job.id, headers={"Retry-After": "1"})
    require_files(job)
    if job.result is None:
        detail = job.error.message if job.error else f"The job was {job.state}"
        raise Problem("job_has_no_result", detail, job_id=job.id)
    return job.result


def _find(job: Job, file_format: Format | None) -> ResultFile:
    files = result_of(job).files
    for file in files:
        if file_format in (None, file.format):
            return file
    available = ", ".join(file.format for file in files)
    raise Problem(
        "not_found",
        f"The job has no {file_format} file: available are {available}",
        job_id=job.id,
    )
