"""Job records in Redis: the only truth about a job's state."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline

from service.core.counters import Counters
from service.core.jobs.events import JobEvents
from service.core.jobs.record import Job, JobError, Progress, Result, State
from service.core.transactions import DONE, Limit, Transactions

KEPT_AFTER_EXPIRY = timedelta(days=7)  # the record, so that a late caller reads "expired" and not 404
SENDING_SECONDS = 10  # that a gateway may take to put a recorded job on the queue
INDEX_KEPT = timedelta(days=30)  # a list of jobs, after the last was added; longer than any record

_Places = list[tuple[str, float]]  # members and scores of a sorted set


class TooManyJobs(Exception):  # noqa: N818  # a refusal, not a fault
    """No room for a job: `where` is "queue" or "owner", `most` how many it may hold."""

    def __init__(self, where: str, most: int) -> None:
        self.where, self.most = where, most
        super().__init__(f"the {where} holds {most} open jobs already")


class ReservationLost(Exception):  # noqa: N818  # another request may have the idempotency key by now
    """A request took so long that its idempotency key is no longer its own."""


class JobStore:
    """Jobs by id. Every change is a compare-and-set: of two writers one wins, the other is told.

    With each change go, in one transaction, its event, its counts, and what is still to be done about it.
    """

    def __init__(self, redis: Redis, prefix: str = "oflow") -> None:
        self.redis = redis
        self.prefix = prefix
        self.events = JobEvents(redis, prefix)
        self.counters = Counters(redis, prefix)
        self._transactions = Transactions(redis)
        self.expiry = f"{prefix}:expiry"  # job id → when its files go
        self.unsent = f"{prefix}:unsent"  # job id → when it is to be put on the queue, if nobody has by then
        self.leased = (
            f"{prefix}:leased"  # job id → when it is to be queued anew, if its worker is silent by then
        )
        self.webhooks = f"{prefix}:webhooks"  # job id → when its webhook is to be tried next

    def key(self, job_id: str) -> str:
        return f"{self.prefix}:job:{job_id}"

    def waiting_key(self, model: str) -> str:
        return f"{self.prefix}:waiting:{model}"

    def _open(self, owner: str) -> str:
        return f"{self.prefix}:open:{owner}"

    def _index(self, owner: str) -> str:
        return f"{self.prefix}:jobs:{owner}"

    def create(
        self, job: Job, *, most_waiting: int | None = None, most_open: int | None = None, reserved: str = ""
    ) -> None:
        """Record a new job, to be put on the queue. Raises TooManyJobs and ReservationLost.

        `reserved` is the Redis key of an idempotency key: it lives as long as the job from now on. On a
        RedisError nobody knows whether the job was recorded.
        """
        gone = job.expires_at + KEPT_AFTER_EXPIRY
        pipe = self.redis.pipeline()
        pipe.set(self.key(job.id), _dump(job), exat=gone)
        pipe.zadd(self.waiting_key(job.model), {job.id: job.created_at.timestamp()})
        pipe.sadd(self._open(job.owner), job.id)
        pipe.zadd(self._index(job.owner), {job.id: _microseconds(job.created_at)})
        pipe.expire(self._index(job.owner), INDEX_KEPT)
        pipe.zadd(self.expiry, {job.id: job.expires_at.timestamp()})
        pipe.zadd(self.unsent, {job.id: job.created_at.timestamp() + SENDING_SECONDS})
        if reserved:
            pipe.expireat(reserved, job.expires_at)
        self.events.append(pipe, None, job, gone)
        self.counters.created(pipe, job)
        expected = {self.key(job.id): ""} | ({reserved: job.id} if reserved else {})
        result = self._apply_in_room(pipe, expected, job.model, job.owner, most_waiting, most_open)
        # -1: the job is there already, since the answer to the first try was lost.
        if result == -2:
            raise ReservationLost

    def require_room(
        self, model: str, owner: str, most_waiting: int | None, most_open: int | None = None
    ) -> None:
        """Raise TooManyJobs where `create` would, before work is put into the job."""
        self._apply_in_room(self.redis.pipeline(), {}, model, owner, most_waiting, most_open)

    def _apply_in_room(
        self,
        pipe: Pipeline,
        expected: dict[str, str],
        model: str,
        owner: str,
        waiting: int | None,
        opened: int | None,
    ) -> int:
        """Run the commands of `pipe`, or raise TooManyJobs. The result is that of Transactions.apply."""
        limits: dict[str, Limit] = {}
        if opened is not None:
            limits["owner"] = ("SCARD", self._open(owner), opened)
        if waiting is not None:
            limits["queue"] = ("ZCARD", self.waiting_key(model), waiting)
        result = self._transactions.apply(pipe, expected, list(limits.values()))
        if result > DONE:
            where = list(limits)[result - 1]
            raise TooManyJobs(where, limits[where][2])
        return result

    def sent(self, job_id: str) -> None:
        """The job is on the queue."""
        self.redis.zrem(self.unsent, job_id)

    def get(self, job_id: str) -> Job | None:
        """The job as its caller sees it; past `expires_at` an ended job is expired."""
        return _seen(self.redis.get(self.key(job_id)))

    def newest(self, owner: str, before: tuple[int, str] | None, count: int) -> Iterator[tuple[int, Job]]:
        """Jobs of an owner, newest first, each with its place in the list; `count` are read at a time.

        `before`: only those after this place and id.
        """
        index = self._index(owner)
        last = before or (2**62, "")
        start = self.redis.zcount(index, f"({last[0]}", "+inf")
        gone = []
        while found := cast(_Places, self.redis.zrevrange(index, start, start + count - 1, withscores=True)):
            start += len(found)
            texts = self.redis.mget([self.key(name) for name, _ in found])
            for (name, score), text in zip(found, texts, strict=True):
                here = (int(score), name)
                job = _seen(text)
                if job is None:
                    gone.append(name)
                elif here < last:  # new jobs move the rest back: some may come twice
                    last = here
                    yield here[0], job
        if gone:
            self.redis.zrem(index, *gone)

    def queue_position(self, job: Job) -> int | None:
        """Jobs of the same model that wait before this one; None once it has started."""
        if job.state is not State.QUEUED:
            return None
        return cast(int | None, self.redis.zrank(self.waiting_key(job.model), job.id))

    def waiting(self, model: str) -> tuple[int, float | None]:
        """How many jobs wait for a model, and since when the first of them."""
        key = self.waiting_key(model)
        with self.redis.pipeline() as pipe:
            pipe.zcard(key)
            pipe.zrange(key, 0, 0, withscores=True)
            count, first = pipe.execute()
        return int(count), float(first[0][1]) if first else None

    def claim(self, job_id: str, max_attempts: int) -> Job | None:
        """Start an attempt. None: the job is unknown, has ended, or ends now: it killed too many workers.

        Attempts that were given back do not count.
        """

        def change(job: Job) -> Job | None:
            if not job.state.open:
                return None
            deaths = job.attempt - len(job.given_back)
            if deaths >= max_attempts:
                message = f"The worker died {deaths} times while it ran this job."
                return job.ended(State.FAILED, error=JobError(code="worker_lost", message=message))
            return job.with_(
                state=State.RUNNING,
                attempt=job.attempt + 1,
                started_at=job.started_at or datetime.now(UTC),
                progress=Progress(stage="fetch", percent=0),
            )

        job = self._update(job_id, change)
        return job if job and job.state is State.RUNNING else None

    def give_back(self, job_id: str, attempt: int | None = None) -> None:
        """An attempt, the current one unless named, stops without its worker's death: it does not count."""

        def change(job: Job) -> Job | None:
            number = attempt or job.attempt
            if job.state is not State.RUNNING or number in job.given_back:
                return None
            return job.with_(given_back=[*job.given_back, number])

        self._update(job_id, change)

    def report(self, job: Job, progress: Progress) -> bool:
        """Store the progress of an attempt. False when the attempt is no longer the current one."""
        return self._update_attempt(job, lambda now: now.with_(progress=progress)) is not None

    def lease(self, job: Job, seconds: float) -> bool:
        """The attempt goes on though the queue regards the job as done: it is queued anew unless the lease is
        renewed, or the job ends, within so many seconds. False: the attempt is no longer the current one."""
        until = time.time() + seconds
        return self._while_current(job, lambda pipe: pipe.zadd(self.leased, {job.id: until}))

    def requeued(self, job: Job) -> None:
        """A job whose lease ran out is on the queue again."""
        self._while_current(job, lambda pipe: pipe.zrem(self.leased, job.id))

    def _while_current(self, job: Job, queue: Callable[[Pipeline], object]) -> bool:
        """Send what `queue` puts into the pipeline, unless the attempt is no longer the current one."""
        key = self.key(job.id)
        while True:
            text = cast(str | None, self.redis.get(key))
            if text is None or not _is_attempt(Job.model_validate_json(text), job):
                return False
            pipe = self.redis.pipeline()
            queue(pipe)
            if self._transactions.apply(pipe, {key: text}) == DONE:
                return True

    def is_current(self, job: Job) -> bool:
        """Whether the attempt is still to be gone on with."""
        text = self.redis.get(self.key(job.id))
        return text is not None and _is_attempt(Job.model_validate_json(text), job)

    def succeed(self, job: Job, result: Result) -> bool:
        """End an attempt well. False when the job has ended already: the first finisher counts."""
        done = Progress(stage="done", percent=100)

        def change(now: Job) -> Job:
            return now.ended(State.SUCCEEDED, result=result).with_(progress=done)

        if self._update_attempt(job, change) is not None:
            return True
        # It may have been this call that ended it: a broken connection loses the answer, and asks again.
        now = self.get(job.id)
        return now is not None and now.state is State.SUCCEEDED and now.attempt == job.attempt

    def fail(self, job: Job, error: JobError) -> bool:
        return self._update_attempt(job, lambda now: now.ended(State.FAILED, error=error)) is not None

    def cancel(self, job_id: str, error: JobError | None = None) -> Job | None:
        """End an open job; a worker that runs it notices. None where it was not open."""
        return self._update(
            job_id, lambda now: now.ended(State.CANCELED, error=error) if now.state.open else None
        )

    def expire(self, job_id: str) -> Job | None:
        """Mark an ended job's files as gone, from now on. None: it is open, unknown or expired already."""

        def change(job: Job) -> Job | None:
            if job.state.open or job.state is State.EXPIRED:
                return None
            at = min(job.expires_at, datetime.now(UTC))
            return job.with_(state=State.EXPIRED, result=None, expires_at=at)

        return self._update(job_id, change)

    def _update_attempt(self, job: Job, change: Callable[[Job], Job]) -> Job | None:
        return self._update(job.id, lambda now: change(now) if _is_attempt(now, job) else None)

    def _update(self, job_id: str, change: Callable[[Job], Job | None]) -> Job | None:
        """Read, change, write; again when someone else wrote in between. None: nothing was to be changed."""
        key = self.key(job_id)
        while True:
            text = cast(str | None, self.redis.get(key))
            before = None if text is None else Job.model_validate_json(text)
            after = change(before) if before else None
            if text is None or before is None or after is None:
                return None
            after = after.with_(version=before.version + 1)
            pipe = self.redis.pipeline()
            pipe.set(key, _dump(after), keepttl=True)
            self.events.append(pipe, before, after, before.expires_at + KEPT_AFTER_EXPIRY)
            self.counters.changed(pipe, before, after)
            if before.state is State.QUEUED and after.state is not State.QUEUED:
                pipe.zrem(self.waiting_key(after.model), after.id)
                pipe.zrem(self.unsent, after.id)
            if before.attempt != after.attempt or not after.state.open:
                pipe.zrem(self.leased, after.id)
            if before.state.open and not after.state.open:
                pipe.srem(self._open(after.owner), after.id)
                if after.options.webhook_url:
                    pipe.zadd(self.webhooks, {after.id: datetime.now(UTC).timestamp()})
            if self._transactions.apply(pipe, {key: text}) == DONE:
                return after


def _is_attempt(now: Job, job: Job) -> bool:
    return now.state is State.RUNNING and now.attempt == job.attempt


def _seen(text: Any) -> Job | None:
    if text is None:
        return None
    job = Job.model_validate_json(text)
    if not job.state.open and job.expires_at <= datetime.now(UTC):
        return job.with_(state=State.EXPIRED, result=None)
    return job


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)


def _dump(job: Job) -> str:
    return job.model_dump_json(exclude_none=True)
