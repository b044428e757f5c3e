"""`/jobs/{id}/input`: the points of a job."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Response

from service.api.dependencies import ContextDep, JobDep
from service.api.http.downloads import Conditions, StoredFile, require_stored, send, unchanged
from service.api.http.problems import keyed_responses
from service.api.routes.results import require_files
from service.core.jobs.record import Job

router = APIRouter(prefix="/jobs", tags=["jobs"])
MEDIA_TYPE = "application/octet-stream"
ERRORS = (
    "not_found",
    "record_unreadable",
    "invalid_request",
    "job_expired",
    "input_lost",
    "storage_unavailable",
)
UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The file has not changed since the `ETag` in `If-None-Match`"}
}
IfNoneMatch = Annotated[str | None, Header(description="`ETag` of your copy of the file.")]


@router.get(
    "/{job_id}/input",
    summary="Download the input",
    response_class=Response,
    responses={
        200: {
            "description": "The file",
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        },
        206: {"description": "The requested byte range"},
        **UNCHANGED,
        **keyed_responses(*ERRORS, "range_not_satisfiable"),
    },
)
async def read_input(
    job: JobDep,
    context: ContextDep,
    byte_range: Annotated[
        str | None, Header(alias="Range", description="A single range, `bytes=0-99`.")
    ] = None,
    if_range: Annotated[str | None, Header(description="Apply `Range` only if the `ETag` matches.")] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The points of the job, in any state but `expired`: an `.npz` of the whole sequence as it was sent, and
    other uploads as such an `.npz`."""
    file = _find(job)
    conditions = Conditions(byte_range, if_range, if_none_match)
    if answer := unchanged(file, conditions):
        return answer
    await require_stored(context.store, context.file_calls, file, "input_lost")
    return await send(context.store, context.file_calls, file, conditions)


@router.head(
    "/{job_id}/input",
    summary="Size and hash of the input",
    response_class=Response,
    responses={200: {"description": "The headers of the file"}, **UNCHANGED, **keyed_responses(*ERRORS)},
)
async def check_input(job: JobDep, context: ContextDep, if_none_match: IfNoneMatch = None) -> Response:
    """`Content-Length` and `ETag` (SHA-256) of the input, without its bytes."""
    file = _find(job)
    if answer := unchanged(file, Conditions(if_none_match=if_none_match)):
        return answer
    await require_stored(context.store, context.file_calls, file, "input_lost")
    headers = {"Content-Length": str(file.bytes), "Accept-Ranges": "bytes"}
    return Response(headers=headers | file.headers, media_type=MEDIA_TYPE)


def _find(job: Job) -> StoredFile:
    require_files(job)
    return StoredFile(
        job.input_key, job.input.bytes, job.input.sha256, f"oflow-{job.id[:8]}-input.npz", job.id
    )
