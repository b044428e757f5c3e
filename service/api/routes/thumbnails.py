"""`/jobs/{id}/thumbnail`: a picture of the result, for lists and link previews."""

from typing import Annotated

from fastapi import APIRouter, Header, Response

from service.api.dependencies import ContextDep, JobDep
from service.api.http.downloads import Conditions, StoredFile, require_stored, send, unchanged
from service.api.http.problems import Problem, keyed_responses
from service.api.routes.results import result_of

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get(
    "/{job_id}/thumbnail",
    summary="Picture of the result",
    response_class=Response,
    responses={
        200: {
            "description": "A PNG",
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "The picture has not changed since the `ETag` in `If-None-Match`"},
        **keyed_responses(
            "not_found",
            "record_unreadable",
            "invalid_request",
            "job_not_done",
            "job_has_no_result",
            "job_expired",
            "result_lost",
            "storage_unavailable",
        ),
    },
)
async def read_thumbnail(
    job: JobDep,
    context: ContextDep,
    if_none_match: Annotated[str | None, Header(description="`ETag` of your copy of the picture.")] = None,
) -> Response:
    """The mesh in the middle of the motion, 480 × 360 pixels."""
    picture = result_of(job).thumbnail
    if picture is None:
        raise Problem("not_found", "The job has no thumbnail", job_id=job.id)
    filename = f"oflow-{job.id[:8]}.png"
    file = StoredFile(job.result_key(picture.name), picture.bytes, picture.sha256, filename, job.id)
    conditions = Conditions(None, None, if_none_match)
    if answer := unchanged(file, conditions):
        return answer
    await require_stored(context.store, context.file_calls, file, "result_lost")
    return await send(context.store, context.file_calls, file, conditions)
