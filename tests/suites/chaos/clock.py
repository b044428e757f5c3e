"""A wall clock that a scenario can set, for the processes that are started with it."""

import shutil
import subprocess
from pathlib import Path

from tests.suites.chaos.not_here import NotHere

SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """The clock of every process that has `environment`; right until `set_wrong`.

    libfaketime would do, but makes `time.sleep` fail wherever it leaves the monotonic clock alone.
    """

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise NotHere("needs a C compiler, to put a wrong clock between a process and its C library")
        library, self._file = directory / "clock.so", directory / "clock"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE], check=True)
        self._file.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(self._file)}

    def set_wrong(self, seconds: int) -> None:
        """Be ahead by so many seconds, or behind where they are negative."""
        with self._file.open("r+b") as file:  # the same file: it is mapped
            file.write(seconds.to_bytes(8, "little", signed=True))
