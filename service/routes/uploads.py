"""`POST /uploads`: a large file goes straight to the object store."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from service.deps import CallerDep, PartsDep
from service.problems import keyed_responses

router = APIRouter(tags=["jobs"])


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
    responses=keyed_responses("storage_unavailable"),
)
def create_upload(parts: PartsDep, caller: CallerDep) -> UploadView:
    """Then `POST /reconstruct` takes the JSON `{"upload_id": …}` with the options beside it, as often as you
    like until the upload expires."""
    settings = parts.settings
    upload, form = parts.uploads.create(caller.id, settings.upload_seconds, settings.max_upload_bytes)
    return UploadView(
        upload_id=upload.id,
        url=form.url,
        fields=form.fields,
        max_bytes=settings.max_upload_bytes,
        expires_at=upload.expires_at,
    )
