"""The attempts of workers at jobs: each changes its job only while it is the current one."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from redis.client import Pipeline

from service.core.jobs.provenance import Provenance
from service.core.jobs.record import Job, JobError, Progress, State
from service.core.jobs.records import JobRecords
from service.core.jobs.results import Result
from service.core.jobs.stored import UnreadableRecord, load
from service.core.model_info import ModelInfo
from service.core.transactions import DONE


class JobAttempts(JobRecords):
    """What workers record of the jobs that they run."""

    def claim(self, job_id: str, max_attempts: int, loaded: ModelInfo | None = None) -> Job | None:
        """Start an attempt and return the job, or None if it is unknown or has ended, or cannot be read.

        A job that has killed `max_attempts` workers fails; attempts that were given back do not count. The
        record then names the model that the worker has `loaded`.
        """

        def change(job: Job) -> Job | None:
            if not job.state.open:
                return None
            deaths = job.attempt - len(job.given_back)
            if deaths >= max_attempts:
                message = f"The worker died {deaths} times while running this job."
                return job.ended(State.FAILED, error=JobError(code="worker_lost", message=message))
            return job.with_(
                state=State.RUNNING,
                attempt=job.attempt + 1,
                started_at=job.started_at or datetime.now(UTC),
                progress=Progress(stage="fetch", percent=0),
                provenance=loaded and Provenance.of(job.options, loaded),
            )

        try:
            job = self._update(job_id, change)
        except UnreadableRecord as error:
            self.quarantined.add(error)
            return None
        return job if job and job.state is State.RUNNING else None

    def give_back(self, job_id: str, attempt: int | None = None) -> None:
        """Record that an attempt (by default the current one) was stopped, so that it does not count.

        An unreadable record goes into quarantine.
        """

        def change(job: Job) -> Job | None:
            number = attempt or job.attempt
            if job.state is not State.RUNNING or number in job.given_back:
                return None
            return job.with_(given_back=[*job.given_back, number])

        try:
            self._update(job_id, change)
        except UnreadableRecord as error:
            self.quarantined.add(error)

    def report(self, job: Job, progress: Progress) -> bool:
        """Store the progress of an attempt. Returns False if the attempt is no longer current."""
        return self._update_attempt(job, lambda now: now.with_(progress=progress)) is not None

    def lease(self, job: Job, seconds: float) -> bool:
        """Take or renew a lease on an attempt that continues after its delivery was acknowledged.

        The job is re-enqueued unless it ends or the lease is renewed within `seconds`. Returns False if the
        attempt is no longer current.
        """
        until = time.time() + seconds
        return self._while_current(job, lambda pipe: pipe.zadd(self.leased, {job.id: until}))

    def requeued(self, job: Job) -> None:
        """Record that a job whose lease ran out has been enqueued again."""
        self._while_current(job, lambda pipe: pipe.zrem(self.leased, job.id))

    def _while_current(self, job: Job, add_commands: Callable[[Pipeline], object]) -> bool:
        """Execute the commands that `add_commands` adds to a pipeline, provided the attempt is current."""
        key = self.key(job.id)
        while True:
            text = cast(str | None, self.redis.get(key))
            if text is None or not _is_attempt(load(job.id, text), job):
                return False
            pipe = self.redis.pipeline()
            add_commands(pipe)
            if self._transactions.apply(pipe, {key: text}) == DONE:
                return True

    def is_current(self, job: Job) -> bool:
        """Whether the attempt is running and has not been superseded."""
        text = cast(str | None, self.redis.get(self.key(job.id)))
        return text is not None and _is_attempt(load(job.id, text), job)

    def succeed(self, job: Job, result: Result) -> bool:
        """End an attempt with a result. Returns False if the attempt is no longer current."""
        if self._update_attempt(job, lambda current: current.succeeded(result)) is not None:
            return True
        # This call may have ended the job itself and been repeated after losing the connection.
        current = self.get(job.id)
        return current is not None and current.state is State.SUCCEEDED and current.attempt == job.attempt

    def fail(self, job: Job, error: JobError) -> bool:
        """End an attempt with an error. Returns False if the attempt is no longer current."""
        return self._update_attempt(job, lambda current: current.ended(State.FAILED, error=error)) is not None

    def _update_attempt(self, job: Job, change: Callable[[Job], Job]) -> Job | None:
        return self._update(job.id, lambda current: change(current) if _is_attempt(current, job) else None)


def _is_attempt(current: Job, job: Job) -> bool:
    return current.state is State.RUNNING and current.attempt == job.attempt
