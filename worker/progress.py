"""Progress of a running job, into its record."""

import time
from collections.abc import Callable

from service.jobs import Job, JobStore, Progress

EVERY = 0.2  # seconds between two writes of the same stage


class ProgressReport:
    """Writes stage, percent and ETA, a few times a second; notices when the job was taken over."""

    def __init__(self, jobs: JobStore, job: Job) -> None:
        self.jobs = jobs
        self.job = job
        self.began = time.monotonic()
        self.last = ("", 0.0)
        self.superseded = False

    def __call__(self, stage: str, fraction: float) -> None:
        """`fraction` of the whole job, 0 to 1."""
        now = time.monotonic()
        if stage == self.last[0] and now - self.last[1] < EVERY:
            return
        self.last = (stage, now)
        elapsed = now - self.began
        eta = round(elapsed / fraction - elapsed, 1) if fraction > 0.05 else None
        progress = Progress(stage=stage, percent=round(100 * min(fraction, 1.0), 1), eta_seconds=eta)
        self.superseded = not self.jobs.report(self.job, progress)

    def within(self, start: float, end: float) -> Callable[[str, float], None]:
        """For a part of the job that counts its own progress from 0 to 1."""
        return lambda stage, fraction: self(stage, start + fraction * (end - start))

    def is_superseded(self) -> bool:
        return self.superseded
