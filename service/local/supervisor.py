"""Watches running parts: a worker that ends is started again, the loss of another part is the stack's end."""

import threading
import time
from collections.abc import Sequence

from service.local.errors import LocalStackError
from service.local.processes import ManagedProcess

QUICK_DEATH = 30.0  # seconds
# In a row. More than a job has attempts: one that kills its workers must not end the stack.
MOST_QUICK_DEATHS = 4
LONGEST_PAUSE = 8.0  # seconds


class Supervisor:
    """A thread that looks at the parts; `failure` says what was lost beyond help, if anything was."""

    def __init__(self, essential: Sequence[ManagedProcess], restarted: Sequence[ManagedProcess]) -> None:
        self.failure: LocalStackError | None = None
        self._essential = essential
        self._restarted = restarted
        self._quick_deaths = dict.fromkeys(restarted, 0)
        self._due: dict[ManagedProcess, float] = {}  # when a dead one is started again
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        try:
            while not self._stopped.wait(0.1):
                for part in self._essential:
                    if not part.is_running:
                        raise part.error(f"{part.name} {part.exit_status}")
                for part in self._restarted:
                    if part not in self._due:
                        if not part.is_running:
                            self._bury(part)
                    elif time.monotonic() >= self._due[part]:
                        del self._due[part]
                        part.start()
        except LocalStackError as error:
            self.failure = error

    def _bury(self, part: ManagedProcess) -> None:
        """Clear up after a dead part and set the time of its next start, or give up on it."""
        quick = time.monotonic() - part.started_at < QUICK_DEATH
        deaths = self._quick_deaths[part] = self._quick_deaths[part] + 1 if quick else 0
        if deaths >= MOST_QUICK_DEATHS:
            raise part.error(f"{part.name} {part.exit_status}, {deaths} times in a row")
        pause = min(0.5 * 2**deaths, LONGEST_PAUSE)
        part.log.write("stack", f"{part.name} {part.exit_status}; it is started again in {pause:g} s")
        part.kill()  # its own children may still be there
        self._due[part] = time.monotonic() + pause
