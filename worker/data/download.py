"""`worker data download`: a large archive fetched over an unreliable line, checked, and unpacked."""

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from worker.data.errors import DataError

PUBLISHED = "https://s3.eu-central-1.amazonaws.com/avg-projects/occupancy_flow/data/Humans.zip"  # 42 GB
ELSEWHERE = (
    "If it has moved, give its address by --url. Data of the same layout can be made from registered meshes "
    "(worker data build), or from nothing (worker data bodies)."
)
BLOCK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 5  # in a row that bring nothing
PAUSE = 2.0  # seconds after the first of them, doubled after each

console = Console(soft_wrap=True)


def download(url: str, folder: Path, sha256: str | None, keep: bool) -> int:
    """Fetch the zip archive at `url` and unpack it into `folder`. Returns the exit code: 0 or 2.

    Called again, it goes on where it was interrupted: in the middle of the archive, or of unpacking.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / url.rsplit("/", 1)[-1]
        with Progress(*columns, console=console) as bar:
            if not archive.exists():
                fetch(url, archive, bar)
            if sha256:
                check(archive, sha256, bar)
            unpack(archive, folder, bar)
    except (DataError, OSError) as error:
        console.print(f"[red]not downloaded[/]: {error}", highlight=False)
        return 2
    if not keep:
        archive.unlink()
    console.print(f"unpacked into {folder}")
    return 0


def fetch(url: str, file: Path, bar: Progress) -> None:
    """Fetch a URL to a file, which appears when it is complete. Raises DataError where it cannot be had."""
    if not url.startswith(("http://", "https://")):
        raise DataError(f"{url!r} is no address to fetch from; wanted http:// or https://")
    part = file.with_name(f".{file.name}.part")
    task = bar.add_task(file.name, total=None)
    fruitless = 0
    while True:
        before = _size(part)
        try:
            _fetch_rest(url, part, bar, task)
            part.replace(file)
            return
        except (http.client.HTTPException, OSError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                raise DataError(
                    f"{url} cannot be had: HTTP {error.code} {error.reason}. {ELSEWHERE}"
                ) from None
            fruitless = 0 if _size(part) > before else fruitless + 1
            if not _size(part) or fruitless == ATTEMPTS:
                raise DataError(f"{url} does not answer: {error}. {ELSEWHERE}") from None
            time.sleep(PAUSE * 2**fruitless)


def _fetch_rest(url: str, part: Path, bar: Progress, task: TaskID) -> None:
    """Append what is missing. Raises OSError or HTTPException where the line breaks."""
    # Which version of the file the part belongs to: another one must not be appended to it.
    version = part.with_name(f"{part.name}.version")
    have = _size(part) if version.exists() else 0
    headers = {"Range": f"bytes={have}-", "If-Range": version.read_text("ascii")} if have else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s), as `fetch` has checked
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        left = int(response.headers.get("Content-Length", 0))
        if left > (free := shutil.disk_usage(part.parent).free):
            raise DataError(
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


def check(file: Path, sha256: str, bar: Progress) -> None:
    """Raise DataError, and put the file away, where it does not have this checksum."""
    task = bar.add_task("check", total=_size(file))
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
            bar.advance(task, len(block))
    if digest.hexdigest() != sha256.lower():
        damaged = file.with_name(f"{file.name}.damaged")
        file.replace(damaged)
        raise DataError(f"{damaged} has SHA-256 {digest.hexdigest()}, not {sha256.lower()}; fetch it again")


def unpack(archive: Path, folder: Path, bar: Progress) -> None:
    """Unpack what is not there yet. Raises DataError where the archive is damaged; zip carries checksums."""
    try:
        with zipfile.ZipFile(archive) as source:
            members = [member for member in source.infolist() if not member.is_dir()]
            task = bar.add_task("unpack", total=sum(member.file_size for member in members))
            for member in members:
                target = (folder / member.filename).resolve()
                if not target.is_relative_to(folder.resolve()):
                    raise DataError(f"{archive} names {member.filename}, which lies outside of {folder}")
                if not target.is_file() or target.stat().st_size != member.file_size:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    part = target.with_name(f".{target.name}.part")
                    with source.open(member) as stream, part.open("wb") as out:
                        shutil.copyfileobj(stream, out, BLOCK)
                    part.replace(target)
                bar.advance(task, member.file_size)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}; delete it and fetch it again") from None


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
