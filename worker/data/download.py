"""`worker data download`: a large archive fetched over an unreliable line, checked, and unpacked."""

import shutil
import zipfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from model.errors import ModelError
from worker.data.dfaust import tell_splits
from worker.data.errors import DataError
from worker.fetch import BLOCK, digest, fetch

PUBLISHED = "https://s3.eu-central-1.amazonaws.com/avg-projects/occupancy_flow/data/Humans.zip"  # 42 GB
ELSEWHERE = (
    "If it has moved, give its address by --url. Data of the same layout can be made from registered meshes "
    "(worker data build), or from nothing (worker data bodies)."
)

console = Console(soft_wrap=True)


def download(url: str, folder: Path, sha256: str | None, keep: bool) -> int:
    """Fetch the zip archive at `url` and unpack it into `folder`. Returns the exit code: 0 or 2.

    Called again, it goes on where it was interrupted: in the middle of the archive, or of unpacking.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        if not url.startswith(("http://", "https://")):
            raise DataError(f"{url!r} is no address to fetch from; wanted http:// or https://")
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / url.rsplit("/", 1)[-1]
        with Progress(*columns, console=console) as bar:
            if not archive.exists():
                fetch(url, archive, bar, ELSEWHERE)
            if sha256:
                check(archive, sha256, bar)
            unpack(archive, folder, bar)
    except (ModelError, OSError) as error:
        console.print(f"[red]not downloaded[/]: {error}", highlight=False)
        return 2
    if not keep:
        archive.unlink()
    console.print(f"unpacked into {folder}")
    for category in sorted(folder.glob("*/*/")):  # Humans/D-FAUST
        tell_splits(category, console)
    return 0


def check(file: Path, sha256: str, bar: Progress) -> None:
    """Raise DataError, and put the file away, where it does not have this checksum."""
    if (found := digest(file, bar)) != sha256.lower():
        damaged = file.with_name(f"{file.name}.damaged")
        file.replace(damaged)
        raise DataError(f"{damaged} has SHA-256 {found}, not {sha256.lower()}; fetch it again")


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
