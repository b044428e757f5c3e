"""`POST /uploads`: a large file goes straight to the object store."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from service.api.dependencies import CallerDep, PartsDep
from service.api.http.problems import Problem, keyed_responses
from service.api.uploads import TooManyUploads

router = APIRouter(tags=["jobs"])
AGAIN_SECONDS = "60"


class UploadView(BaseModel):
    """Post a form to `url`: first each of `fields`, then the file as the field `file`."""

    upload_id: str
    url: str
    fields: dict[str, str]
    max_bytes: int
    expires_at: datetime


@router.post(
    "/uploads",
    status_code=201,
    summary="Where to put a large sequence",
    responses=keyed_responses("too_many_uploads", "storage_unavailable"),
)
def create_upload(context: PartsDep, caller: CallerDep) -> UploadView:
    """Then `POST /reconstruct` takes the JSON `{"upload_id": …}` with the options beside it, as often as you
    like until the upload expires."""
    settings = context.settings
    most = None if caller.open_jobs is None else settings.open_uploads
    try:
        upload, form = context.uploads.create(
            caller.id, settings.upload_seconds, settings.max_upload_bytes, most
        )
    except TooManyUploads:
        told = f"The key has {most} uploads that have not expired, which they do by themselves"
        raise Problem("too_many_uploads", told, headers={"Retry-After": AGAIN_SECONDS}) from None
    return UploadView(
        upload_id=upload.id,
        url=form.url,
        fields=form.fields,
        max_bytes=settings.max_upload_bytes,
        expires_at=upload.expires_at,
    )
