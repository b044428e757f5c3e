"""New jobs: recorded only within the limits of the queue and of their owner."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from redis.client import Pipeline

from service.core.jobs.record import Job
from service.core.jobs.records import KEPT_AFTER_EXPIRY, JobRecords
from service.core.jobs.room import RECORD_OVERHEAD, Quota
from service.core.jobs.stored import dump
from service.core.transactions import DONE, Limit

ENQUEUE_SECONDS = 10  # time a gateway has to enqueue a recorded job
INDEX_KEPT = timedelta(days=30)  # lifetime of an owner's index after its last job; longer than any record


class TooManyJobs(Exception):  # noqa: N818  # an expected refusal
    """A limit is reached: jobs in the "queue", or of the owner: open jobs ("owner"), the "seconds" estimated
    for them, "records", or the "bytes" of these."""

    def __init__(self, where: str, limit: int) -> None:
        self.where, self.limit = where, limit
        super().__init__(f"limit of {limit} reached: {where}")


@dataclass(frozen=True)
class Limits:
    """What may be stored before a job is refused; None: unlimited."""

    waiting: int | None = None  # jobs in the queue of the model
    open: int | None = None  # of the owner
    seconds: int | None = None  # estimated for the open jobs of the owner
    quota: Quota | None = None  # of the owner


class ReservationLost(Exception):  # noqa: N818  # an expected refusal
    """The request's idempotency key lapsed while it was processed; another request may own it by now."""


class JobAdmission(JobRecords):
    """Records new jobs, and restores those of which Redis has lost the record."""

    def create(self, job: Job, limits: Limits | None = None, *, reserved: str = "") -> Job:
        """Record a new job that is about to be enqueued, and return it with its priority.

        Raises TooManyJobs and ReservationLost.

        `reserved` is the Redis key of an idempotency reservation, which is extended to the job's lifetime.
        After a RedisError it is unknown whether the job was recorded.
        """
        gone = job.expires_at + KEPT_AFTER_EXPIRY
        job = job.with_(queue_priority=self.turns.priority(job.owner))
        pipe = self.redis.pipeline()
        text = dump(job)
        pipe.set(self.key(job.id), text, exat=gone)
        pipe.zadd(self.waiting_key(job.model), {job.id: job.created_at.timestamp()})
        pipe.sadd(self.turns.open(job.owner), job.id)
        self.turns.add(pipe, job)
        self._index(pipe, job, text)
        pipe.zadd(self.unsent, {job.id: job.created_at.timestamp() + ENQUEUE_SECONDS})
        if reserved:
            pipe.expireat(reserved, job.expires_at)
        self.events.append(pipe, None, job, gone)
        self.counters.created(pipe, job)
        expected = {self.key(job.id): ""} | ({reserved: job.id} if reserved else {})
        result = self._apply_within_limits(
            pipe, expected, job.model, job.owner, limits or Limits(), _seconds(job)
        )
        # -1: an earlier try recorded the job, but its reply was lost.
        if result == -2:
            raise ReservationLost
        return job

    def restore(self, job: Job) -> None:
        """Record a job that has ended again, unless it has a record."""
        gone = job.expires_at + KEPT_AFTER_EXPIRY
        pipe = self.redis.pipeline()
        text = dump(job)
        pipe.set(self.key(job.id), text, exat=gone)
        self._index(pipe, job, text)
        self.events.append(pipe, None, job, gone)
        self._transactions.apply(pipe, {self.key(job.id): ""})

    def _index(self, pipe: Pipeline, job: Job, text: str) -> None:
        """List the new record among its owner's, and schedule the deletion of its files."""
        pipe.zadd(self.room.index(job.owner), {job.id: _microseconds(job.created_at)})
        pipe.incrby(self.room.stored(job.owner), len(text.encode()) + RECORD_OVERHEAD)
        for key in (self.room.index(job.owner), self.room.stored(job.owner)):
            pipe.expire(key, INDEX_KEPT)
        pipe.zadd(self.expiry, {job.id: job.expires_at.timestamp()})

    def require_room(self, model: str, owner: str, limits: Limits) -> None:
        """Raise TooManyJobs if `create` would, before any work is done for the job.

        The oldest expired records of the owner give way to new ones.
        """
        try:
            self._apply_within_limits(self.redis.pipeline(), {}, model, owner, limits)
        except TooManyJobs as error:
            if error.where not in ("records", "bytes") or not limits.quota:
                raise
            if not self.room.make(owner, limits.quota):
                raise
            self._apply_within_limits(self.redis.pipeline(), {}, model, owner, limits)

    def _apply_within_limits(
        self,
        pipe: Pipeline,
        expected: dict[str, str],
        model: str,
        owner: str,
        limits: Limits,
        seconds: int = 0,
    ) -> int:
        """Run the commands of `pipe` or raise TooManyJobs. Returns the result of `Transactions.apply`."""
        checks: dict[str, Limit] = {}
        if limits.open is not None:
            checks["owner"] = ("SCARD", self.turns.open(owner), limits.open)
        if limits.seconds is not None:
            checks["seconds"] = ("GET", self.turns.seconds(owner), limits.seconds - seconds + 1)
        if limits.waiting is not None:
            checks["queue"] = ("ZCARD", self.waiting_key(model), limits.waiting)
        if limits.quota is not None:
            checks["records"] = ("ZCARD", self.room.index(owner), limits.quota.records)
            checks["bytes"] = ("GET", self.room.stored(owner), limits.quota.bytes)
        result = self._transactions.apply(pipe, expected, list(checks.values()))
        if result > DONE:
            where = list(checks)[result - 1]
            raise TooManyJobs(where, checks[where][2])
        return result


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)


def _seconds(job: Job) -> int:
    return job.estimate.whole_seconds if job.estimate else 0
