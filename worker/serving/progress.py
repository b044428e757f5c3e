"""Progress reporting of a running job to its record and the log."""

import logging
import time
from collections.abc import Callable

from model.errors import Canceled
from service.core.jobs.record import Job, Progress
from service.core.jobs.store import JobStore

log = logging.getLogger(__name__)
INTERVAL = 0.2  # seconds between updates within a stage
LEAST = 0.1  # of the job must be done before it tells how long the rest takes


class ProgressReport:
    """Writes stage, percentage and ETA a few times per second, and notices if the attempt is superseded.

    `started` is the start of the attempt on the monotonic clock.
    """

    def __init__(self, jobs: JobStore, job: Job, started: float, stage: str = "fetch") -> None:
        self.jobs = jobs
        self.job = job
        self.started = started
        self.stage = stage
        self.stage_started = time.monotonic()
        self.updated = float("-inf")
        self.eta = float("inf")
        self.stopped = False

    def __call__(self, stage: str, fraction: float) -> None:
        """Report a stage and the completed fraction of the whole job, 0 to 1."""
        now = time.monotonic()
        if stage != self.stage:
            self._log_stage(now)
            self.stage, self.stage_started = stage, now
        elif now - self.updated < INTERVAL:
            return
        self.updated = now
        elapsed = now - self.started
        if fraction > LEAST:
            self.eta = min(self.eta, round(elapsed / fraction - elapsed, 1))  # it waits rather than climb
        eta = self.eta if fraction > LEAST else None
        progress = Progress(stage=stage, percent=round(100 * min(fraction, 1.0), 1), eta_seconds=eta)
        self.stopped = not self.jobs.report(self.job, progress)

    def within(self, start: float, end: float) -> Callable[[str, float], None]:
        """A callback for a part of the job that reports its own progress from 0 to 1."""
        return lambda stage, fraction: self(stage, start + fraction * (end - start))

    def is_stopped(self) -> bool:
        """Whether the attempt was found to be canceled or superseded at the last update."""
        return self.stopped

    def finish(self) -> None:
        """Log the end of the last stage."""
        self._log_stage(time.monotonic())

    def require_current(self) -> None:
        """Raise Canceled if the attempt is no longer current, checking the record."""
        if not self.jobs.is_current(self.job):
            raise Canceled(f"stopped in stage {self.stage}")

    def _log_stage(self, now: float) -> None:
        seconds = round(now - self.stage_started, 3)
        details = {
            "job_id": self.job.id,
            "attempt": self.job.attempt,
            "stage": self.stage,
            "seconds": seconds,
        }
        log.info("job %s: %s took %.2f s", self.job.id, self.stage, seconds, extra=details)
