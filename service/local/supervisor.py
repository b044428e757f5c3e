"""Supervises running processes: restarts workers, and reports the death of any other part."""

import threading
import time
from collections.abc import Sequence

from service.local.errors import LocalStackError
from service.local.processes import ManagedProcess

EARLY_EXIT_SECONDS = 30.0
# Consecutive; more than a job's attempts, so that a job that kills its workers does not stop the stack.
MAX_EARLY_EXITS = 4
MAX_DELAY = 8.0  # seconds


class Supervisor:
    """A thread that watches processes. `failure` is set once one has died for good."""

    def __init__(self, essential: Sequence[ManagedProcess], restarted: Sequence[ManagedProcess]) -> None:
        self.failure: LocalStackError | None = None
        self._essential = essential
        self._restarted = restarted
        self._early_exits = dict.fromkeys(restarted, 0)
        self._restart_at: dict[ManagedProcess, float] = {}
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
                    if part not in self._restart_at:
                        if not part.is_running:
                            self._schedule_restart(part)
                    elif time.monotonic() >= self._restart_at[part]:
                        del self._restart_at[part]
                        part.start()
        except LocalStackError as error:
            self.failure = error

    def _schedule_restart(self, part: ManagedProcess) -> None:
        """Clean up after a dead process and schedule its restart with exponential backoff, or give up."""
        early = time.monotonic() - part.started_at < EARLY_EXIT_SECONDS
        exits = self._early_exits[part] = self._early_exits[part] + 1 if early else 0
        if exits >= MAX_EARLY_EXITS:
            raise part.error(f"{part.name} {part.exit_status}, {exits} times in a row")
        delay = min(0.5 * 2**exits, MAX_DELAY)
        part.log.write("stack", f"{part.name} {part.exit_status}; restarting in {delay:g} s")
        part.kill()  # its children may still be running
        self._restart_at[part] = time.monotonic() + delay
