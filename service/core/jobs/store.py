"""All that gateways and workers do with job records."""

from datetime import UTC, datetime

from service.core.jobs.admission import JobAdmission
from service.core.jobs.attempts import JobAttempts
from service.core.jobs.record import Job, JobError, State
from service.core.jobs.records import expired


class JobStore(JobAdmission, JobAttempts):
    """Records of jobs: new ones, those of attempts, and changes by callers and by the service itself."""

    def sent(self, job_id: str) -> None:
        """Record that the job has been enqueued."""
        self.redis.zrem(self.unsent, job_id)

    def enqueue_again(self, job: Job) -> None:
        """Have a gateway enqueue an open job whose message is lost."""
        self.redis.zadd(self.unsent if job.state is State.QUEUED else self.leased, {job.id: 0.0})

    def cancel(self, job_id: str, error: JobError | None = None) -> Job | None:
        """Cancel an open job; its worker notices and stops. Returns None if the job was not open."""
        return self._update(
            job_id, lambda current: current.ended(State.CANCELED, error=error) if current.state.open else None
        )

    def expire(self, job_id: str) -> Job | None:
        """Mark an ended job as expired and keep the least of it, without result and metadata.

        Returns None if it is open, unknown or already expired.
        """

        def change(job: Job) -> Job | None:
            if job.state.open or job.state is State.EXPIRED:
                return None
            return expired(job).with_(expires_at=min(job.expires_at, datetime.now(UTC)))

        return self._update(job_id, change)

    def bring_forward(self, job_id: str) -> Job | None:
        """Give a waiting job the first priority, behind those that have it. None if it has started."""
        return self._update(
            job_id, lambda job: job.with_(queue_priority=0) if job.state is State.QUEUED else None
        )
