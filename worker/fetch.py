"""A file fetched over an unreliable line: resumed, checked, there whole or not at all."""

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from rich.progress import Progress, TaskID

from model.errors import ModelError

BLOCK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 5  # in a row that bring nothing
PAUSE = 2.0  # seconds after the first of them, doubled after each


class FetchError(ModelError):
    """A file cannot be had from its address, or is not the one that was wanted."""

    code = "not_fetched"


def fetch(url: str, file: Path, bar: Progress, advice: str, sha256: str | None = None) -> None:
    """Fetch a URL to a file, which appears when it is complete; `sha256` is how its checksum has to begin.

    Raises FetchError, which ends in `advice`, where it cannot be had.
    """
    part = file.with_name(f".{file.name}.part")
    task = bar.add_task(file.name, total=None)
    fruitless = 0
    while True:
        before = _size(part)
        try:
            _fetch_rest(url, part, bar, task)
            break
        except (http.client.HTTPException, OSError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and before:
                    part.unlink()  # complete, and not known to be so
                    continue
                raise FetchError(f"{url} cannot be had: HTTP {error.code} {error.reason}. {advice}") from None
            fruitless = 0 if _size(part) > before else fruitless + 1
            if not _size(part) or fruitless == ATTEMPTS:
                raise FetchError(f"{url} does not answer: {_reason(error)}. {advice}") from None
            time.sleep(PAUSE * 2**fruitless)
    if sha256 is not None and not (found := digest(part, bar)).startswith(sha256.lower()):
        part.unlink()
        raise FetchError(f"{url} gave a file with SHA-256 {found}, not {sha256.lower()}. {advice}")
    part.replace(file)


def digest(file: Path, bar: Progress) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    task = bar.add_task("check", total=_size(file))
    sha256 = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            sha256.update(block)
            bar.advance(task, len(block))
    return sha256.hexdigest()


def _fetch_rest(url: str, part: Path, bar: Progress, task: TaskID) -> None:
    """Append what is missing. Raises OSError or HTTPException where the line breaks."""
    # Which version of the file the part belongs to: another one must not be appended to it.
    version = part.with_name(f"{part.name}.version")
    have = _size(part) if version.exists() else 0
    headers = {"Range": f"bytes={have}-", "If-Range": version.read_text("ascii")} if have else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s), as callers have checked
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310  # nosec B310
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        left = int(response.headers.get("Content-Length", 0))
        if left > (free := shutil.disk_usage(part.parent).free):
            raise FetchError(
                f"{part.parent} has {free / 1e9:.1f} GB free; {url} wants {left / 1e9:.1f} GB more"
            )
        if tag := response.headers.get("ETag") or response.headers.get("Last-Modified"):
            version.write_text(tag, "ascii")
        bar.update(task, total=have + left or None, completed=have)
        with part.open("ab" if have else "wb") as stream:
            while block := response.read(BLOCK):
                stream.write(block)
                bar.advance(task, len(block))
    if _size(part) < have + left:
        raise ConnectionError(f"the line broke after {_size(part)} of {have + left} bytes")
    version.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """What urllib wraps as <urlopen error …>."""
    return str(getattr(error, "reason", "") or error)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
