"""A worker that is told to stop may finish its job first, for at most OFLOW_DRAIN_SECONDS."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)
POLL_SECONDS = 0.2


class Drain:
    """Puts the stop of a worker off while `is_busy`. `stop_consuming` keeps it from taking another job."""

    def __init__(
        self, seconds: float, is_busy: Callable[[], bool], stop_consuming: Callable[[], None]
    ) -> None:
        self.seconds = seconds
        self.is_busy = is_busy
        self.stop_consuming = stop_consuming
        self.begun = False

    def begin(self) -> bool:
        """Called for each request to stop; whether this process will ask again by itself, once it is idle.

        A second request stops at once.
        """
        if self.begun or not self.seconds or not self.is_busy():
            return False
        self.begun = True
        log.info("stopping after the running job, or in %.0f s", self.seconds)
        self.stop_consuming()
        threading.Thread(target=self._wait, daemon=True, name="drain").start()
        return True

    def _wait(self) -> None:
        deadline = time.monotonic() + self.seconds
        while self.is_busy() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
