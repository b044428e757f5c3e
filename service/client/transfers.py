"""Files to and from the server; a single attempt each."""

import hashlib
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from service.client.retrying import ServiceError, check
from service.core.jobs.formats import Format
from service.core.jobs.views import FileView, JobView

BLOCK = 2**20


def post_to_store(form: dict[str, Any], file: BinaryIO) -> None:
    """Send a file with the form of `POST /uploads`. Raises ServiceError."""
    # Without the caller's key: the form is its own credential, and the store is another server.
    content = {"file": ("input", file)}
    answer = httpx.post(form["url"], data=form["fields"], files=content, timeout=300, trust_env=False)
    check(answer)


def fetch(http: httpx.Client, file: FileView, target: Path) -> None:
    """Write a file of a result to `target`. Raises ServiceError if it arrives damaged."""
    digest = hashlib.sha256()
    with http.stream("GET", file.href, follow_redirects=True) as answer, target.open("wb") as out:
        check(answer)
        for block in answer.iter_bytes(BLOCK):
            digest.update(block)
            out.write(block)
    if digest.hexdigest() != file.sha256:
        raise ServiceError(f"{file.name} arrived damaged: its SHA-256 is not the one in the job", "damaged")


def file_of(job: JobView, wanted: Format | str | None) -> FileView:
    """The job's file of a format, or its first. Raises ServiceError if there is none."""
    files = job.result.files if job.result else []
    for file in files:
        if wanted in (None, file.format):
            return file
    available = ", ".join(file.format for file in files) or "none"
    raise ServiceError(f"the job has no {wanted or 'file'}; available: {available}", "not_found")
