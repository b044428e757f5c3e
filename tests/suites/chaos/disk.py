"""A small file system that can be filled up."""

import errno
import subprocess
from pathlib import Path

from tests.suites.chaos.not_here import NotHere

BLOCK = bytes(2**16)


class Disk:
    """A tmpfs at `path` if mounting is permitted, otherwise a directory that cannot be filled."""

    def __init__(self, path: Path, megabytes: int) -> None:
        self.path = path
        path.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
        self.is_mounted = subprocess.run(mount, capture_output=True).returncode == 0
        self._filler = path / "filler"

    def fill(self) -> None:
        """Fill the disk completely."""
        if not self.is_mounted:
            raise NotHere("needs root to mount a tmpfs")
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
