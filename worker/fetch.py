"""Downloads over an unreliable connection: resumed, verified, and complete or absent."""

import hashlib
import shutil
from http import HTTPStatus
from pathlib import Path

import httpx
from rich.progress import Progress, TaskID
from tenacity import RetryCallState, Retrying, retry_if_exception

from model.errors import ModelError

BLOCK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 5  # in a row that bring no further byte
PAUSE = 2.0  # seconds after the first of them, doubled after each


class FetchError(ModelError):
    """A file cannot be downloaded, or is not the one that was wanted."""

    code = "not_fetched"


def fetch(url: str, file: Path, bar: Progress, advice: str, sha256: str | None = None) -> None:
    """Download a URL to a file, which appears once it is complete; `sha256` is how its checksum has to begin.

    Raises FetchError, which ends in `advice`, if it cannot be downloaded; OSError if it cannot be stored.
    """
    part = file.with_name(f".{file.name}.part")
    task = bar.add_task(file.name, total=None)
    fruitless = _Fruitless(part)
    try:
        Retrying(
            retry=retry_if_exception(_is_passing),
            wait=lambda _: PAUSE * 2**fruitless.count,
            stop=fruitless,
            reraise=True,
        )(_fetch_rest, url, part, bar, task)
    except httpx.HTTPStatusError as error:
        answer = error.response
        reason = f"HTTP {answer.status_code} {answer.reason_phrase}"
        raise FetchError(f"{url} cannot be downloaded: {reason}. {advice}") from None
    except httpx.HTTPError as error:
        raise FetchError(f"{url} does not answer: {error}. {advice}") from None
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


class _Fruitless:
    """Stops after ATTEMPTS in a row that add nothing to the part, or once there is no part at all."""

    def __init__(self, part: Path) -> None:
        self.part, self.count, self._before = part, 0, _size(part)

    def __call__(self, _state: RetryCallState) -> bool:
        size = _size(self.part)
        self.count = 0 if size > self._before else self.count + 1
        self._before = size
        return not size or self.count >= ATTEMPTS


def _is_passing(error: BaseException) -> bool:
    refused = isinstance(error, httpx.HTTPStatusError) and not error.response.is_server_error
    return isinstance(error, httpx.HTTPError) and not refused


def _fetch_rest(url: str, part: Path, bar: Progress, task: TaskID) -> None:
    """Append what is missing. Raises httpx.HTTPError if the connection fails."""
    # Which version of the file the part belongs to: another one must not be appended to it.
    version = part.with_name(f"{part.name}.version")
    have = _size(part) if version.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # so that bytes on the wire are bytes of the file
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version.read_text("ascii")}
    with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as response:
        if have and response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()  # complete, and not known to be so
            return _fetch_rest(url, part, bar, task)
        response.raise_for_status()
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            have = 0
        left = int(response.headers.get("Content-Length", 0))
        if left > (free := shutil.disk_usage(part.parent).free):
            found = f"{part.parent} has {free / 1e9:.1f} GB free"
            raise FetchError(f"{found}; {url} needs {left / 1e9:.1f} GB more")
        if tag := response.headers.get("ETag") or response.headers.get("Last-Modified"):
            version.write_text(tag, "ascii")
        bar.update(task, total=have + left or None, completed=have)
        try:
            with part.open("ab" if have else "wb") as stream:
                for block in response.iter_raw():  # unbuffered: what has come is kept
                    stream.write(block)
                    bar.advance(task, len(block))
        except httpx.TransportError as error:
            found = f"{_size(part)} of {have + left} bytes"
            raise httpx.ReadError(f"the connection was lost after {found} ({error})") from None
    version.unlink(missing_ok=True)
    return None


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
