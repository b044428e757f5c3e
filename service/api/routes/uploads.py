"""`POST /uploads`: presigned uploads of large files directly to the object store."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from service.api.dependencies import CallerDep, ContextDep
from service.api.http.problems import Problem, keyed_responses
from service.api.uploads import TooManyUploads

router = APIRouter(tags=["jobs"])
RETRY_SECONDS = "60"


class UploadView(BaseModel):
    """Post a form to `url` with all of `fields` first and then the file as the field `file`."""

    upload_id: str
    url: str
    fields: dict[str, str]
    max_bytes: int
    expires_at: datetime


@router.post(
    "/uploads",
    status_code=201,
    summary="Create an upload for a large sequence",
    responses=keyed_responses("too_many_uploads", "storage_unavailable"),
)
async def create_upload(context: ContextDep, caller: CallerDep) -> UploadView:
    """Returns a presigned form for the file. Afterwards send `{"upload_id": …}` with the options to
    `POST /reconstruct`, any number of times until the upload expires."""
    settings = context.settings
    limit = None if caller.open_jobs is None else settings.open_uploads
    try:
        upload, form = await context.record_calls.run(
            context.uploads.create, caller.id, settings.upload_seconds, settings.max_upload_bytes, limit
        )
    except TooManyUploads:
        detail = f"The key has {limit} pending uploads, its maximum: retry after one has expired"
        raise Problem("too_many_uploads", detail, headers={"Retry-After": RETRY_SECONDS}) from None
    return UploadView(
        upload_id=upload.id,
        url=form.url,
        fields=form.fields,
        max_bytes=settings.max_upload_bytes,
        expires_at=upload.expires_at,
    )
