"""Progress of a running job, into its record and the log."""

import logging
import time
from collections.abc import Callable

from model.errors import Canceled
from service.core.jobs.record import Job, Progress
from service.core.jobs.store import JobStore

log = logging.getLogger(__name__)
EVERY = 0.2  # seconds between two writes of the same stage


class ProgressReport:
    """Writes stage, percent and ETA, a few times a second; notices when the job is canceled or taken over."""

    def __init__(self, jobs: JobStore, job: Job) -> None:
        self.jobs = jobs
        self.job = job
        self.began = time.monotonic()
        self.stage = "fetch"
        self.stage_began = self.written = self.began
        self.stopped = False

    def __call__(self, stage: str, fraction: float) -> None:
        """`fraction` of the whole job, 0 to 1."""
        now = time.monotonic()
        if stage != self.stage:
            self._log_stage(now)
            self.stage, self.stage_began = stage, now
        elif now - self.written < EVERY:
            return
        self.written = now
        elapsed = now - self.began
        eta = round(elapsed / fraction - elapsed, 1) if fraction > 0.05 else None
        progress = Progress(stage=stage, percent=round(100 * min(fraction, 1.0), 1), eta_seconds=eta)
        self.stopped = not self.jobs.report(self.job, progress)

    def within(self, start: float, end: float) -> Callable[[str, float], None]:
        """For a part of the job that counts its own progress from 0 to 1."""
        return lambda stage, fraction: self(stage, start + fraction * (end - start))

    def is_stopped(self) -> bool:
        """Whether the attempt is no longer wanted, as of the last word of progress."""
        return self.stopped

    def finish(self) -> None:
        """The last stage is over."""
        self._log_stage(time.monotonic())

    def require_wanted(self) -> None:
        """Raise Canceled if the attempt is not wanted any more, by now."""
        if not self.jobs.is_current(self.job):
            raise Canceled(f"stopped in stage {self.stage}")

    def _log_stage(self, now: float) -> None:
        seconds = round(now - self.stage_began, 3)
        details = {
            "job_id": self.job.id,
            "attempt": self.job.attempt,
            "stage": self.stage,
            "seconds": seconds,
        }
        log.info("job %s: %s took %.2f s", self.job.id, self.stage, seconds, extra=details)
