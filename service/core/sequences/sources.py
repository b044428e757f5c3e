"""Files and folders on this machine, packed into one upload on the fly."""

import glob
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from service.core.sequences.names import is_litter
from service.core.sequences.packing import pack_frames

BAGS = (".bag", ".mcap", ".db3")
_SPOOL_BYTES = 1 << 20


class SourceError(Exception):
    """Nothing that could be a sequence was named."""


@dataclass(frozen=True)
class Source:
    """What is to be uploaded: one file, the files of a folder, or a ROS bag; `name` is what lists call it."""

    name: str
    files: tuple[tuple[str, Path], ...]  # names in the archive, and places
    bag: Path | None = None
    is_single: bool = False

    @property
    def stem(self) -> str:
        return Path(self.name).stem if self.is_single else self.name

    @property
    def folder(self) -> Path:
        """Where results go if nobody says where: beside the file, the folder, or the frames."""
        place = self.bag or self.files[0][1]
        return place.parent if self.is_single or self.bag else place.parent.parent

    @contextmanager
    def open(self, topic: str | None = None) -> Iterator[BinaryIO]:
        """The content of the upload. Raises SourceError and OSError."""
        if self.is_single:
            with self.files[0][1].open("rb") as file:
                yield file
            return
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
            packed = cast(BinaryIO, spool)
            if self.bag is not None:
                from service.core.sequences.bags import pack_bag  # the only source that needs more packages

                pack_bag(self.bag, topic, packed)
            else:
                pack_frames(_opened(self.files), packed)
            packed.seek(0)
            yield packed


def is_url(place: str | Path) -> bool:
    return str(place).startswith(("https://", "http://"))


def find_source(given: Sequence[str | Path]) -> Source:
    """The source that a file, a folder, a pattern such as `scans/*.ply`, or several files stand for.

    Raises SourceError.
    """
    paths = [path for place in given for path in _matches(str(place))]
    if not paths:
        raise SourceError("nothing was named; wanted a file, a folder or frames")
    if len(paths) > 1:
        if folders := [path for path in paths if path.is_dir()]:
            raise SourceError(f"{folders[0]} is a folder beside other sources; wanted one folder, or files")
        base = Path(os.path.commonpath([path.absolute().parent for path in paths]))
        files = tuple((path.absolute().relative_to(base).as_posix(), path) for path in paths)
        return Source(_text(base.name) or "frames", _texts(files))
    [path] = paths
    if path.suffix.lower() in BAGS or (path / "metadata.yaml").is_file():
        return Source(_text(path.stem), (), bag=path)
    if not path.is_dir():
        return Source(_text(path.name), ((_text(path.name), path),), is_single=True)
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    files = tuple((file.relative_to(path).as_posix(), file) for file in inside)
    files = tuple((name, file) for name, file in files if not is_litter(name))
    if not files:
        raise SourceError(f"{path} holds no files; wanted the frames of a sequence")
    return Source(_text(path.resolve().name), _texts(files))


def _text(name: str) -> str:
    """The name of a file as text: one that is not UTF-8, as of old cameras, is taken for Latin-1."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("latin-1")
    return name


def _texts(files: tuple[tuple[str, Path], ...]) -> tuple[tuple[str, Path], ...]:
    return tuple((_text(name), path) for name, path in files)


def _matches(place: str) -> list[Path]:
    if Path(place).exists():
        return [Path(place)]
    if not glob.has_magic(place):
        raise SourceError(f"{place} does not exist")
    found = sorted(glob.glob(place, recursive=True))  # noqa: PTH207  # the pattern may be absolute
    if not found:
        raise SourceError(f"nothing matches {place}")
    return [Path(path) for path in found]


def _opened(files: Sequence[tuple[str, Path]]) -> Iterator[tuple[str, BinaryIO]]:
    for name, path in files:
        with path.open("rb") as file:
            yield name, file
