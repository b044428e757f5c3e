"""`/jobs/{id}/result`: download a job's result files."""

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from service.api.dependencies import ContextDep, JobDep
from service.api.http.etags import matches
from service.api.http.problems import Problem, keyed_responses
from service.core.jobs.formats import Format
from service.core.jobs.record import Job, ResultFile, State
from service.core.object_store import RangeError, verified

router = APIRouter(prefix="/jobs", tags=["jobs"])
ONE_RANGE = re.compile(r"bytes=(?:\d{1,18}-\d{0,18}|-\d{1,18})", re.ASCII)


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
def read_result(
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
    file = _find(job, file_format)
    filename = f"oflow-{job.id[:8]}.{file.name.split('.', 1)[1]}"
    key = job.result_key(file.name)
    etag = f'"{file.sha256}"'
    if not redirect and matches(if_none_match, etag):
        return Response(status_code=304, headers={"ETag": etag})
    if context.store.size(key) != file.bytes:
        raise Problem("result_lost", job_id=job.id)
    if redirect:
        left = int((job.expires_at - datetime.now(UTC)).total_seconds())
        return RedirectResponse(
            context.store.presign(key, filename, left), 307, {"Cache-Control": "no-store"}
        )
    valid = byte_range and ONE_RANGE.fullmatch(byte_range) and if_range in (None, etag)
    try:
        headers, status, chunks = context.store.open(key, byte_range if valid else None)
    except RangeError:
        size = {"Content-Range": f"bytes */{file.bytes}"}
        detail = f"The requested range lies beyond the file's {file.bytes} bytes"
        raise Problem("range_not_satisfiable", detail, job_id=job.id, headers=size) from None
    headers |= {"ETag": etag, "Content-Disposition": f'attachment; filename="{filename}"'}
    # Corruption is detected at the end: the response is then cut short, so the client notices.
    return StreamingResponse(chunks if status == 206 else verified(chunks, file.sha256), status, headers)


def _find(job: Job, file_format: Format | None) -> ResultFile:
    if job.state.open:
        raise Problem("job_not_done", f"The job is {job.state}", job_id=job.id, headers={"Retry-After": "1"})
    if job.state is State.EXPIRED:
        detail = f"The job's files were deleted at {job.expires_at:%Y-%m-%d %H:%M} UTC"
        raise Problem("job_expired", detail, job_id=job.id)
    if job.result is None:
        detail = job.error.message if job.error else f"The job was {job.state}"
        raise Problem("job_has_no_result", detail, job_id=job.id)
    for file in job.result.files:
        if file_format in (None, file.format):
            return file
    available = ", ".join(file.format for file in job.result.files)
    raise Problem("not_found", f"The job has no {file_format} file: available are {available}", job_id=job.id)
