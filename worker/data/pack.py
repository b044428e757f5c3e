"""`worker data pack`: rewrite a data set's many small files as one memory-mapped folder a sequence."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from worker.data.errors import DataError
from worker.data.frames import NpzFrames
from worker.data.mesh_sequences import MESH_FOLDER
from worker.data.packed import PackedFrames, packed_folder, write_packed

console = Console(soft_wrap=True)


@dataclass(frozen=True)
class Source:
    """A folder of `.npz` frames that can be packed."""

    folder: Path
    frames: NpzFrames
    size: int  # bytes
    changed: float  # when its youngest file was written

    @classmethod
    def of(cls, folder: Path) -> "Source":
        frames = NpzFrames(folder)
        stats = [file.stat() for file in frames.files]
        size = sum(stat.st_size for stat in stats)
        return cls(folder, frames, size, max(stat.st_mtime for stat in stats))

    def is_packed(self) -> bool:
        """Whether the packed folder holds these frames, and is younger than they are."""
        packed = packed_folder(self.folder)
        if not packed.is_dir() or packed.stat().st_mtime < self.changed:
            return False
        try:
            return PackedFrames(packed).numbers == self.frames.numbers
        except DataError:  # damaged
            return False


def find_sources(root: Path) -> list[Source]:
    """The folders of frames below a data set's root, a class, or a sequence."""
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    folders = sorted(
        folder
        for folder in (root, *root.rglob("*"))
        if folder.is_dir() and next(folder.glob("[0-9]*.npz"), None) is not None
    )
    if not folders and not any(root.rglob("*.packed")):
        raise DataError(f"{root} holds no frames; wanted <class>/<sequence>/pcl_seq/00000000.npz")
    return [Source.of(folder) for folder in folders]


def pack(root: Path) -> int:
    """Pack all below `root` that is not packed yet. Returns the exit code: 0, or 2 for a refusal."""
    try:
        sources = find_sources(root)
        left = [source for source in sources if not source.is_packed()]
        wanted, free = sum(source.size for source in left), shutil.disk_usage(root).free
        if wanted > free:
            raise DataError(f"{root} has {_gigabytes(free)} free; packing needs {_gigabytes(wanted)}")
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("pack", total=wanted)
            for source in left:
                bar.update(task, description=f"{source.folder.parent.name}/{source.folder.name}")
                write_packed(source.folder, source.frames, lambda size: bar.advance(task, size))
            bar.update(task, completed=wanted, description="packed")
    except (DataError, OSError) as error:
        console.print(f"[red]not packed[/]: {error}", highlight=False)
        return 2
    packed = {*root.rglob("*.packed"), *(packed_folder(source.folder) for source in sources)}
    before = len(packed) - len(left)
    console.print(f"{len(left)} folders packed ({_gigabytes(wanted)}), {before} were packed before")
    console.print(_advice({folder.parent for folder in packed}))
    return 0


def _advice(sequences: set[Path]) -> str:
    if all((sequence / MESH_FOLDER).is_dir() for sequence in sequences):
        return "The .npz files are no longer read for training; they may be deleted."
    return (
        "The .npz files are no longer read for training. Some sequences have no meshes: copy those of "
        "D-FAUST (`worker data migrate`), where a task needs them, before any are deleted."
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
