"""The body of `POST /reconstruct`: a multipart form, the raw file, or JSON with an upload id."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from service.api.http.multipart import read_form
from service.api.http.problems import Problem
from service.core.addresses import check_address
from service.core.jobs.option_faults import OptionsError, read_options
from service.core.jobs.options import Options, parse_options
from service.core.sequences.sequence import Fault, Limits, pack_frames
from service.core.strict_json import read_json

MAX_NAME = 200  # characters
SPOOL_BYTES = 2**20  # larger uploads go to a temporary file
RAW_TYPES = {"application/octet-stream", "application/zip", "application/x-npz"}
MAX_JSON_BYTES = 2**16
EXPECTED = (
    "multipart/form-data with a part named 'file', the raw file as application/octet-stream, "
    "or application/json with an 'upload_id' or a 'source_url'"
)


@dataclass(frozen=True)
class Body:
    """A parsed request: options and the file, not yet validated, or where it is to be fetched from."""

    file: BinaryIO  # empty with an upload_id or a source_url, and to be filled from there
    options: Options
    upload_id: str | None = None
    source_url: str | None = None
    filename: str | None = None  # of the file, or of one of several

    @property
    def name(self) -> str | None:
        """What lists call the sequence."""
        given = self.options.name or self.filename or urlsplit(self.source_url or "").path
        printable = "".join(c for c in given if c.isprintable()).replace("\\", "/").rstrip("/")
        return printable.rpartition("/")[2][:MAX_NAME] or None


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
    fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    urls = [value for name, value in fields if name == "source_url"]
    if len(urls) == 1 and not files and not unexpected:
        fields = [(name, value) for name, value in fields if name != "source_url"]
        return Body(packed, parse_options(query + fields), source_url=_checked(urls[0]))
    if unexpected or not files:
        found = f"file parts named {', '.join(map(repr, unexpected))}" if unexpected else "no file part"
        raise Problem("bad_request", f"The form has {found}: expected {EXPECTED}")
    if len(files) == 1:
        # `received` contains only this file
        return Body(received, parse_options(query + fields), filename=files[0].filename)
    options = parse_options(query + fields)
    frames = [(part.filename or "", part.file) for part in files]
    await asyncio.to_thread(pack_frames, frames, packed)
    folder, _, first = (files[0].filename or "").replace("\\", "/").rpartition("/")
    return Body(packed, options, filename=folder or first)


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
    source_url = values.pop("source_url", None)
    if source_url is not None and "upload_id" not in values:
        options = read_options(Options, values, faults)
        return Body(file, options, source_url=_checked(source_url))
    upload_id = values.pop("upload_id", None)
    if not isinstance(upload_id, str) or source_url is not None:
        message = "upload_id is missing or not a string: expected the id returned by POST /uploads"
        if source_url is not None:
            message = "upload_id and source_url exclude each other: send one of them"
        faults.append(Fault("upload_id", message, repr(upload_id)[:100], "a string"))
        upload_id = ""
    return Body(file, read_options(Options, values, faults), upload_id)


def _checked(url: Any) -> str:
    """A URL to fetch. Raises OptionsError."""
    try:
        if not isinstance(url, str) or len(url) > 2000:
            raise ValueError("is not a string of at most 2000 characters")
        return check_address(url)
    except ValueError as error:
        fault = Fault("source_url", f"source_url {error}", repr(url)[:100], "a public https URL of a file")
        raise OptionsError([fault]) from None


def size_and_sha256(file: BinaryIO) -> tuple[int, str]:
    """Size in bytes and SHA-256 of the whole file."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(2**20):
        digest.update(chunk)
    return file.tell(), digest.hexdigest()
