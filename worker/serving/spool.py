"""A folder that the processes of one worker share, which outlives all but the parent.

Reconstructed meshes wait in it on their way from the process with the model to the process that stores their
files, so that neither the end of a job nor that of its process reaches the files of another.
"""

import fcntl
import os
import pickle  # both ends are processes of one worker, and the folder is closed to others  # nosec B403
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from model import MeshSequence
from service.core.jobs.record import Job
from service.core.model_info import ModelInfo
from service.core.sequences.sequence import PointCloudSequence

MAX_WAITING = 1  # results in the folder beyond the one being stored; the next job starts once there is room
_PREFIX = "oflow-results-"
_TAKEN = ".taken"
_LOADED = ".loaded"


@dataclass(frozen=True)
class Reconstruction:
    """What an attempt has computed. `started` is its start by the monotonic clock, `timings` in seconds."""

    job: Job
    meshes: MeshSequence
    timings: dict[str, float]
    started: float
    sequence: PointCloudSequence | None = None  # the input, where a format shows it
    traceparent: str | None = None  # of the attempt


@dataclass(frozen=True)
class Entry:
    """A reconstruction in the folder. `taken`: its files are being stored."""

    path: Path
    job_id: str
    attempt: int
    taken: bool


class Spool:
    """A queue of reconstructions in a folder, written by one process and read by another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, made: Reconstruction) -> None:
        """Append a reconstruction. Raises OSError if there is no space."""
        name = f"{time.time_ns():020d}.{made.job.id}.{made.job.attempt}"
        part = self.folder / f".{name}"
        try:
            with part.open("wb") as file:
                pickle.dump(made, file, protocol=5)
            part.rename(self.folder / name)
        finally:
            part.unlink(missing_ok=True)

    def announce(self, model: ModelInfo) -> None:
        """Tell the parent what the process with the model has loaded."""
        part = self.folder / f"{_LOADED}.part"
        part.write_text(model.model_dump_json())
        part.rename(self.folder / _LOADED)

    def loaded(self) -> ModelInfo | None:
        """What `announce` was last told; None before that and once the folder is gone."""
        try:
            return ModelInfo.model_validate_json((self.folder / _LOADED).read_text())
        except FileNotFoundError:
            return None

    def entries(self) -> list[Entry]:
        """All reconstructions, oldest first; none once the folder is gone."""
        try:
            paths = sorted(path for path in self.folder.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return []
        return [_entry(path) for path in paths]

    def has_room(self) -> bool:
        return sum(not entry.taken for entry in self.entries()) < MAX_WAITING

    def take(self) -> Entry | None:
        """The oldest reconstruction that nobody has taken; it stays in the folder until it is discarded."""
        for entry in self.entries():
            if entry.taken:
                continue
            taken = entry.path.with_name(entry.path.name + _TAKEN)
            try:
                entry.path.rename(taken)
            except FileNotFoundError:  # discarded meanwhile
                continue
            return _entry(taken)
        return None

    def load(self, entry: Entry) -> Reconstruction:
        """Raises MemoryError if it is too large, and OSError if it has been discarded meanwhile."""
        with entry.path.open("rb") as file:
            made: Reconstruction = pickle.load(file)  # noqa: S301 - see the import  # nosec B301
        return made

    def discard(self, entry: Entry) -> None:
        entry.path.unlink(missing_ok=True)


def _entry(path: Path) -> Entry:
    _, job_id, attempt, *taken = path.name.split(".")
    return Entry(path, job_id, int(attempt), bool(taken))


def open_spool() -> Spool:
    """A new folder for this process, which keeps it locked; removes folders whose owners have died."""
    parent = Path(tempfile.gettempdir())
    for folder in parent.glob(f"{_PREFIX}*"):
        if _lock(folder) is not None:
            shutil.rmtree(folder, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=".oflow-"))
    _lock(folder)
    return Spool(folder.rename(parent / f"{_PREFIX}{folder.name.removeprefix('.oflow-')}"))


def _lock(folder: Path) -> int | None:
    """Lock the folder until this process ends and return the lock; None if another process has it."""
    try:
        file = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # removed meanwhile, or somebody else's
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file
