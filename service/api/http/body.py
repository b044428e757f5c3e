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
from service.core.validation import shown

ELSEWHERE = ("upload_id", "source_url")  # in place of a file
MAX_NAME = 200  # characters
SPOOL_BYTES = 2**20  # larger uploads go to a temporary file
RAW_TYPES = {"application/octet-stream", "application/zip", "application/x-npz"}
MAX_JSON_BYTES = 2**16
EXPECTED = (
    "multipart/form-data with a part named 'file', the raw file as application/octet-stream, "
    "or an 'upload_id' or a 'source_url' as application/json or in a form"
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
    if media_type != "application/json" and (named := [name for name, _ in query if name in ELSEWHERE]):
        message = f"{named[0]} is in the query string: send it as JSON or in a form, instead of a file"
        raise OptionsError([Fault(named[0], message, "a query parameter", "JSON or a form")])
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
    elsewhere = {name: value for name, value in fields if name in ELSEWHERE}
    if elsewhere and not files and not unexpected:
        others = [(name, value) for name, value in fields if name not in elsewhere]
        if len(fields) - len(others) > 1:
            raise _exclusive([name for name, _ in fields if name in elsewhere])
        return _from_elsewhere(elsewhere, packed, parse_options(query + others))
    if unexpected or not files:
        found = f"file parts named {', '.join(map(repr, unexpected))}" if unexpected else "no file part"
        if any(name == "file" for name, _ in fields):
            found = "a part 'file' without a file name, as curl sends with -F file=@NAME"
        raise Problem("bad_request", f"The form has {found}: expected {EXPECTED}")
    if elsewhere:
        raise _exclusive(["file", *elsewhere])
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
    given = {name: values.pop(name, None) for name in ELSEWHERE}
    elsewhere = {name: value for name, value in given.items() if value is not None}
    if len(elsewhere) > 1:
        raise _exclusive(list(elsewhere))
    upload_id = elsewhere.get("upload_id")
    if not elsewhere:
        message = "upload_id is missing: send the id that POST /uploads returned, or a source_url"
        faults.append(Fault("upload_id", message, "nothing", "a string"))
    elif upload_id is not None and not isinstance(upload_id, str):
        message = "upload_id is not a string: send the id that POST /uploads returned"
        faults.append(Fault("upload_id", message, shown(upload_id), "a string"))
    return _from_elsewhere(elsewhere, file, read_options(Options, values, faults))


def _from_elsewhere(elsewhere: dict[str, Any], file: BinaryIO, options: Options) -> Body:
    """A body that only says where the sequence is. Raises OptionsError."""
    if "source_url" in elsewhere:
        return Body(file, options, source_url=_checked(elsewhere["source_url"]))
    return Body(file, options, elsewhere["upload_id"])


def _exclusive(names: list[str]) -> OptionsError:
    """The sequence is said to be in several places."""
    message = f"{' and '.join(names)} exclude each other: send one of them"
    return OptionsError([Fault(names[-1], message, f"{len(names)} sources", "one source")])


def _checked(url: Any) -> str:
    """A URL to fetch. Raises OptionsError."""
    try:
        if not isinstance(url, str) or len(url) > 2000:
            raise ValueError("is not a string of at most 2000 characters")
        return check_address(url)
    except ValueError as error:
        fault = Fault("source_url", f"source_url {error}", shown(url), "a public https URL of a file")
        raise OptionsError([fault]) from None


def size_and_sha256(file: BinaryIO) -> tuple[int, str]:
    """Size in bytes and SHA-256 of the whole file."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(2**20):
        digest.update(chunk)
    return file.tell(), digest.hexdigest()
