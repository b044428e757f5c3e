"""Checkpoints that a config or a command line names by URL: fetched once, kept, and checked.

They lie in OFLOW_CHECKPOINTS_DIR, else in oflow/checkpoints in the user's cache folder. As torch.hub has it,
a name that ends in `-3ff330bc.pt` says how the SHA-256 of the file begins.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from model.checkpoints import checkpoint_hash, find_checkpoint
from model.config.schema import Config
from model.errors import CheckpointError
from service.core.settings import Settings
from worker.fetch import fetch

HASH = re.compile(r"-([0-9a-f]{8,64})\.[^.]+$")
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def checkpoint_file(config: Config, checkpoint: str | Path | None = None) -> Path:
    """The file to load: `checkpoint`, a path or a URL, else what `test.model_file` names.

    Raises CheckpointError or FetchError, which say what to do, where there is none.
    """
    name = str(checkpoint) if checkpoint is not None else config.test.model_file
    if is_url(name):
        return fetch_checkpoint(name)
    return Path(name) if checkpoint is not None else find_checkpoint(config)


def served_checkpoint(config: Config, settings: Settings) -> Path:
    """The file that a worker may load for others: with `checkpoint_sha256`, that one and no other; without,
    nothing is fetched from an address that does not name its hash.
    """
    name, wanted = settings.checkpoint or config.test.model_file, settings.checkpoint_sha256
    if wanted is None and is_url(name) and not HASH.search(urlsplit(name).path):
        raise CheckpointError(
            f"{name} names no hash; wanted OFLOW_CHECKPOINT_SHA256, the SHA-256 of the file"
        )
    file = checkpoint_file(config, settings.checkpoint)
    if wanted is not None and (found := checkpoint_hash(file)) != wanted.lower():
        raise CheckpointError(
            f"{file} has SHA-256 {found}, not that of OFLOW_CHECKPOINT_SHA256, {wanted.lower()}"
        )
    return file


def initialization_file(config: Config) -> Path | None:
    """The checkpoint of `model.initialize_from`, which may be a URL as well; None where it is null."""
    given = config.model.initialize_from
    return fetch_checkpoint(given) if given is not None and is_url(given) else config.initialization_path()


def is_url(name: str) -> bool:
    return "://" in name


def kept_file(url: str) -> Path:
    """Where the checkpoint of a URL is kept."""
    name = urlsplit(url).path.rpartition("/")[2]
    if not HASH.search(name):  # of such a name there may be many
        name = f"{hashlib.sha256(url.encode()).hexdigest()[:8]}_{name}"
    return _folder() / name


def fetch_checkpoint(url: str, advice: str | None = None) -> Path:
    """The kept file of a URL, fetched where it is not there, or is not what its name says it is.

    `advice` ends the message where it cannot be fetched.
    """
    parts, file = urlsplit(url), kept_file(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise CheckpointError(f"{url} is no address for a checkpoint; wanted https://, or the path of a file")
    if not parts.path.rpartition("/")[2]:
        raise CheckpointError(f"{url} names a folder; wanted the address of a .pt file")
    found = HASH.search(file.name)
    sha256 = found[1] if found else None
    advice = advice or f"Fetch it in some other way and give its path by --checkpoint, or put it at {file}"
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file):
            if not file.is_file() or (sha256 and not checkpoint_hash(file).startswith(sha256)):
                with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
                    fetch(url, file, bar, advice, sha256)
    except OSError as error:
        raise CheckpointError(f"{url} cannot be kept: {error}; set OFLOW_CHECKPOINTS_DIR") from None
    return file


def _folder() -> Path:
    if named := os.environ.get("OFLOW_CHECKPOINTS_DIR"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oflow" / "checkpoints"


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Of several processes that need a file, one fetches it and the others wait."""
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
