"""The body of `POST /reconstruct`: multipart with a file and option fields, or the bare file."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from service.problems import Problem
from service.sequences import Limits, pack_frames

SPOOL = 2**20  # bytes of an upload that stay in memory; the rest goes to a temporary file
BARE_TYPES = {"application/octet-stream", "application/zip", "application/x-npz"}
WANTED = "multipart/form-data with a part named 'file', or the bare file as application/octet-stream"


@dataclass(frozen=True)
class Upload:
    """A received file, not yet looked into, and the option fields that came with it."""

    file: BinaryIO
    fields: list[tuple[str, str]]


@asynccontextmanager
async def receive(request: Request, limits: Limits) -> AsyncIterator[Upload]:
    """Take the body in, onto disk beyond a megabyte; the file is gone when the context ends."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    query = list(request.query_params.multi_items())
    with tempfile.SpooledTemporaryFile(max_size=SPOOL) as spool:
        file = cast(BinaryIO, spool)
        if media_type == "multipart/form-data":
            try:
                async with request.form(
                    max_files=limits.max_frames, max_fields=32, max_part_size=65_536
                ) as form:
                    upload = await _from_form(form, file, query)
                    yield upload
            except MultiPartException as error:
                raise Problem(
                    "bad_request", f"The multipart body could not be read: {error.message}"
                ) from None
        elif media_type in BARE_TYPES:
            async for chunk in request.stream():
                spool.write(chunk)
            yield Upload(file, query)
        else:
            raise Problem("unsupported_media", f"Content-Type is {media_type or 'missing'!r}: wants {WANTED}")


async def _from_form(form: FormData, spool: BinaryIO, query: list[tuple[str, str]]) -> Upload:
    files = [part for name, part in form.multi_items() if name == "file" and isinstance(part, UploadFile)]
    strangers = [n for n, part in form.multi_items() if isinstance(part, UploadFile) and n != "file"]
    if strangers or not files:
        found = f"file parts named {', '.join(map(repr, strangers))}" if strangers else "no file part"
        raise Problem("bad_request", f"The form has {found}: wants {WANTED}")
    fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    if len(files) == 1:
        return Upload(files[0].file, query + fields)
    parts = [(part.filename or "", part.file) for part in files]
    await asyncio.to_thread(pack_frames, parts, spool)
    return Upload(spool, query + fields)


def measure(file: BinaryIO) -> tuple[int, str]:
    """Size in bytes and SHA-256."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(2**20):
        digest.update(chunk)
    return file.tell(), digest.hexdigest()
