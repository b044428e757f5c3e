"""The body of `POST /reconstruct`: a form with a file, the bare file, or JSON with an upload's id."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from service.api.http.multipart import read_form
from service.api.http.problems import Problem
from service.core.jobs.options import Options, parse_options, read_options
from service.core.sequences.sequence import Fault, Limits, pack_frames
from service.core.strict_json import read_json

SPOOL = 2**20  # bytes of an upload that stay in memory; the rest goes to a temporary file
BARE_TYPES = {"application/octet-stream", "application/zip", "application/x-npz"}
MAX_JSON = 2**16  # bytes
WANTED = (
    "multipart/form-data with a part named 'file', the bare file as application/octet-stream, "
    "or application/json with an 'upload_id'"
)


@dataclass(frozen=True)
class Body:
    """What was asked for, and the file, not yet looked into; or the id of one uploaded before."""

    file: BinaryIO  # empty, to be filled, where there is an upload_id
    options: Options
    upload_id: str | None = None


@asynccontextmanager
async def receive(request: Request, limits: Limits) -> AsyncIterator[Body]:
    """Take the body in, onto disk beyond a megabyte; the file is gone when the context ends."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    query = list(request.query_params.multi_items())
    with _spool() as file, _spool() as files:
        if media_type == "multipart/form-data":
            try:
                form = await read_form(request, files, limits.max_frames)
            except MultiPartException as error:
                told = f"The multipart body could not be read: {error.message}"
                raise Problem("bad_request", told) from None
            yield await _from_form(form, files, file, query)
        elif media_type in BARE_TYPES:
            async for chunk in request.stream():
                file.write(chunk)
            yield Body(file, parse_options(query))
        elif media_type == "application/json":
            yield _from_json(await _read_json(request), file, query)
        else:
            raise Problem("unsupported_media", f"Content-Type is {media_type or 'missing'!r}: wants {WANTED}")


def _spool() -> BinaryIO:
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=SPOOL))


async def _from_form(
    form: FormData, received: BinaryIO, packed: BinaryIO, query: list[tuple[str, str]]
) -> Body:
    files = [part for name, part in form.multi_items() if name == "file" and isinstance(part, UploadFile)]
    strangers = [n for n, part in form.multi_items() if isinstance(part, UploadFile) and n != "file"]
    if strangers or not files:
        found = f"file context named {', '.join(map(repr, strangers))}" if strangers else "no file part"
        raise Problem("bad_request", f"The form has {found}: wants {WANTED}")
    fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    if len(files) == 1:
        return Body(received, parse_options(query + fields))  # which holds this file and no other
    options = parse_options(query + fields)
    context = [(part.filename or "", part.file) for part in files]
    await asyncio.to_thread(pack_frames, context, packed)
    return Body(packed, options)


async def _read_json(request: Request) -> Any:
    text = bytearray()
    async for chunk in request.stream():
        text += chunk
        if len(text) > MAX_JSON:
            raise Problem("too_large", f"The JSON body is larger than {MAX_JSON} bytes")
    try:
        return read_json(bytes(text))
    except ValueError as error:
        raise Problem("bad_request", f"The body {error}") from None


def _from_json(values: Any, file: BinaryIO, query: list[tuple[str, str]]) -> Body:
    if not isinstance(values, dict):
        raise Problem("bad_request", 'The body is JSON, but no object: wants {"upload_id": …}')
    faults = [
        Fault(name, f"{name} is in the query: with JSON, options go into the body", name, "")
        for name, _ in query
    ]
    upload_id = values.pop("upload_id", None)
    if not isinstance(upload_id, str):
        message = "upload_id is missing: wants the id that POST /uploads gave"
        faults.append(Fault("upload_id", message, repr(upload_id)[:100], "a string"))
        upload_id = ""
    return Body(file, read_options(Options, values, faults), upload_id)


def measure(file: BinaryIO) -> tuple[int, str]:
    """Size in bytes and SHA-256."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(2**20):
        digest.update(chunk)
    return file.tell(), digest.hexdigest()
