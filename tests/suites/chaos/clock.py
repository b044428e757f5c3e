"""A fake wall clock for processes started with its environment."""

import shutil
import subprocess
from pathlib import Path

from tests.suites.chaos.not_here import NotHere

SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """The clock of every process with `environment`; correct until `set_wrong`.

    libfaketime is not used, as it breaks `time.sleep` if it leaves the monotonic clock unchanged.
    """

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise NotHere("needs a C compiler to build the fake clock")
        library, self._file = directory / "clock.so", directory / "clock"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE], check=True)
        self._file.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(self._file)}

    def set_wrong(self, seconds: int) -> None:
        """Set the clock ahead by this many seconds, or behind if negative."""
        with self._file.open("r+b") as file:  # in place, since the file is memory-mapped
            file.write(seconds.to_bytes(8, "little", signed=True))
