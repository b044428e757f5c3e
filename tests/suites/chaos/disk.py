"""A small file system that a scenario can fill."""

import errno
import subprocess
from pathlib import Path

from tests.suites.chaos.not_here import NotHere

BLOCK = bytes(2**16)


class Disk:
    """A tmpfs over `path`, where we may mount one; else an ordinary directory, which cannot be filled."""

    def __init__(self, path: Path, megabytes: int) -> None:
        self.path = path
        path.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
        self.is_mounted = subprocess.run(mount, capture_output=True).returncode == 0
        self._filler = path / "filler"

    def fill(self) -> None:
        """Leave no byte free."""
        if not self.is_mounted:
            raise NotHere("needs root: a disk to be filled is a tmpfs to be mounted")
        try:
            with self._filler.open("wb", buffering=0) as filler:
                while True:
                    filler.write(BLOCK)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)

    def unmount(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)
