"""The body of `POST /reconstruct`: a multipart form, the raw file, or JSON with an upload id."""

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

SPOOL_BYTES = 2**20  # larger uploads go to a temporary file
RAW_TYPES = {"application/octet-stream", "application/zip", "application/x-npz"}
MAX_JSON_BYTES = 2**16
EXPECTED = (
    "multipart/form-data with a part named 'file', the raw file as application/octet-stream, "
    "or application/json with an 'upload_id'"
)


@dataclass(frozen=True)
class Body:
    """A parsed request: options and the file, not yet validated, or the id of an earlier upload."""

    file: BinaryIO  # with an upload_id: empty, to be filled from the upload
    options: Options
    upload_id: str | None = None


@asynccontextmanager
async def receive(request: Request, limits: Limits) -> AsyncIterator[Body]:
    """Receive the body, on disk beyond one MiB. The file is deleted when the context exits."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    query = list(request.query_params.multi_items())
    with spool() as file, spool() as files:
        if media_type == "multipart/form-data":
            try:
                form = await read_form(request, files, limits.max_files)
            except MultiPartException as error:
                raise Problem("bad_request", f"Invalid multipart body: {error.message}") from None
            yield await _from_form(form, files, file, query)
        elif media_type in RAW_TYPES:
            async for chunk in request.stream():
                file.write(chunk)
            yield Body(file, parse_options(query))
        elif media_type == "application/json":
            yield _from_json(await _read_json(request), file, query)
        else:
            found = repr(media_type) if media_type else "missing"
            raise Problem("unsupported_media", f"Content-Type is {found}: expected {EXPECTED}")


def spool() -> BinaryIO:
    """A temporary file, in memory while it is small."""
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES))


async def _from_form(
    form: FormData, received: BinaryIO, packed: BinaryIO, query: list[tuple[str, str]]
) -> Body:
    files = [part for name, part in form.multi_items() if name == "file" and isinstance(part, UploadFile)]
    unexpected = [n for n, part in form.multi_items() if isinstance(part, UploadFile) and n != "file"]
    if unexpected or not files:
        found = f"file parts named {', '.join(map(repr, unexpected))}" if unexpected else "no file part"
        raise Problem("bad_request", f"The form has {found}: expected {EXPECTED}")
    fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    if len(files) == 1:
        return Body(received, parse_options(query + fields))  # `received` contains only this file
    options = parse_options(query + fields)
    frames = [(part.filename or "", part.file) for part in files]
    await asyncio.to_thread(pack_frames, frames, packed)
    return Body(packed, options)


async def _read_json(request: Request) -> Any:
    text = bytearray()
    async for chunk in request.stream():
        text += chunk
        if len(text) > MAX_JSON_BYTES:
            raise Problem("too_large", f"The JSON body exceeds {MAX_JSON_BYTES} bytes")
    try:
        return read_json(bytes(text))
    except ValueError as error:
        raise Problem("bad_request", f"The body {error}") from None


def _from_json(values: Any, file: BinaryIO, query: list[tuple[str, str]]) -> Body:
    if not isinstance(values, dict):
        raise Problem("bad_request", 'The JSON body is not an object: expected {"upload_id": …}')
    faults = [
        Fault(name, f"{name} is in the query string: with a JSON body, put options in the body", name, "")
        for name, _ in query
    ]
    upload_id = values.pop("upload_id", None)
    if not isinstance(upload_id, str):
        message = "upload_id is missing or not a string: expected the id returned by POST /uploads"
        faults.append(Fault("upload_id", message, repr(upload_id)[:100], "a string"))
        upload_id = ""
    return Body(file, read_options(Options, values, faults), upload_id)


def size_and_sha256(file: BinaryIO) -> tuple[int, str]:
    """Size in bytes and SHA-256 of the whole file."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(2**20):
        digest.update(chunk)
    return file.tell(), digest.hexdigest()
