"""Data directory of a stack."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.local.errors import LocalStackError


@contextmanager
def data_directory(chosen: Path | None) -> Iterator[Path]:
    """The `chosen` directory, locked against use by a second stack, or a temporary directory."""
    if chosen is None:
        with tempfile.TemporaryDirectory(prefix="oflow-", ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)
        return
    chosen = chosen.resolve()
    chosen.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (chosen / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalStackError(f"{chosen} is in use by another stack; choose another directory") from None
        yield chosen
