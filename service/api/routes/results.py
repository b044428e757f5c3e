"""`/jobs/{id}/result`: the files that a job made."""

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from service.api.dependencies import JobDep, PartsDep
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
            "description": "The file itself, with `redirect=false`",
            "content": {
                media_type: {"schema": {"type": "string", "format": "binary"}}
                for media_type in ("model/gltf-binary", "application/zip", "application/octet-stream")
            },
        },
        206: {"description": "The part of the file that `Range` asked for"},
        304: {"description": "The file is the one that `If-None-Match` names"},
        307: {"description": "`Location` is a URL that downloads the file, without credentials, for a while"},
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
    context: PartsDep,
    file_format: Annotated[
        Format | None, Query(alias="format", description="One of the job's formats.")
    ] = None,
    redirect: Annotated[bool, Query(description="false: the bytes come from here.")] = True,
    wanted: Annotated[
        str | None, Header(alias="Range", description="With `redirect=false`: one part, `bytes=0-99`.")
    ] = None,
    if_range: Annotated[str | None, Header(description="Take the `Range` only of this `ETag`.")] = None,
    if_none_match: Annotated[str | None, Header(description="The `ETag` of the file you have.")] = None,
) -> Response:
    """The mesh sequence. Without `format`, the first one that the job asked for."""
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
    part = wanted if wanted and ONE_RANGE.fullmatch(wanted) and if_range in (None, etag) else None
    try:
        headers, status, chunks = context.store.open(key, part)
    except RangeError:
        told = f"The file has {file.bytes} bytes"
        size = {"Content-Range": f"bytes */{file.bytes}"}
        raise Problem("range_not_satisfiable", told, job_id=job.id, headers=size) from None
    headers |= {"ETag": etag, "Content-Disposition": f'attachment; filename="{filename}"'}
    # Damage is seen at the end: the answer breaks off then, and its reader knows that it is not whole.
    return StreamingResponse(chunks if status == 206 else verified(chunks, file.sha256), status, headers)


def _find(job: Job, wanted: Format | None) -> ResultFile:
    if job.state.open:
        raise Problem("job_not_done", f"The job is {job.state}", job_id=job.id, headers={"Retry-After": "1"})
    if job.state is State.EXPIRED:
        told = f"The job's files were deleted at {job.expires_at:%Y-%m-%d %H:%M} UTC"
        raise Problem("job_expired", told, job_id=job.id)
    if job.result is None:
        why = job.error.message if job.error else f"The job was {job.state}"
        raise Problem("job_has_no_result", why, job_id=job.id)
    for file in job.result.files:
        if wanted in (None, file.format):
            return file
    made = ", ".join(file.format for file in job.result.files)
    raise Problem("not_found", f"The job has no {wanted} file: it made {made}", job_id=job.id)
