"""`POST /uploads`: presigned uploads of large files directly to the object store."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.api.dependencies import CallerDep, ContextDep
from service.api.http.problems import Problem, keyed_responses
from service.api.uploads import TooManyUploads
from service.core.sequences.errors import Fault

router = APIRouter(tags=["jobs"])
RETRY_SECONDS = "60"


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):  # pydantic would take them for integers
        raise ValueError("is not a number")
    return value


class NewUpload(BaseModel):
    """The file to be uploaded."""

    model_config = ConfigDict(extra="forbid")

    bytes: Annotated[
        Annotated[int, Field(ge=1)] | None,
        BeforeValidator(_number),
        Field(description="Its size; required by servers whose object store takes `PUT`."),
    ] = None


class UploadView(BaseModel):
    """By `method`: POST a form to `url` with all of `fields` first and then the file as the field `file`, or
    PUT the file itself with `headers`."""

    upload_id: str
    method: Literal["POST", "PUT"]
    url: str
    fields: dict[str, str]
    headers: dict[str, str]
    max_bytes: int
    expires_at: datetime


@router.post(
    "/uploads",
    status_code=201,
    summary="Create an upload for a large sequence",
    responses=keyed_responses(
        "bad_request", "too_large", "invalid_request", "too_many_uploads", "storage_unavailable"
    ),
)
async def create_upload(context: ContextDep, caller: CallerDep, body: NewUpload | None = None) -> UploadView:
    """Returns a presigned request that stores the file. Afterwards send `{"upload_id": …}` with the options
    to `POST /reconstruct`, any number of times until the upload expires."""
    settings = context.settings
    size = body.bytes if body else None
    if size is not None and size > settings.max_upload_bytes:
        raise Problem("too_large", f"The upload exceeds {settings.max_upload_bytes / 2**20:.0f} MiB")
    if settings.upload_method == "put" and size is None:
        message = 'bytes is missing: send the size of the file, as {"bytes": 1234}'
        raise Problem("invalid_request", errors=[Fault("bytes", message, "nothing", "a number of bytes")])
    put_bytes = size if settings.upload_method == "put" else None
    limit = None if caller.open_jobs is None else settings.open_uploads
    try:
        upload, request = await context.record_calls.run(
            partial(context.uploads.create, put_bytes=put_bytes),
            caller.id,
            settings.upload_seconds,
            settings.max_upload_bytes,
            limit,
        )
    except TooManyUploads:
        detail = f"The key has {limit} pending uploads, its maximum: retry after one has expired"
        raise Problem("too_many_uploads", detail, headers={"Retry-After": RETRY_SECONDS}) from None
    return UploadView(
        **request.model_dump(),
        upload_id=upload.id,
        max_bytes=settings.max_upload_bytes,
        expires_at=upload.expires_at,
    )
