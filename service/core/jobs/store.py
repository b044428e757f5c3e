"""Job records in Redis, the single source of truth for a job's state."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import cast

from redis import Redis
from redis.client import Pipeline

from service.core.counters import Counters
from service.core.jobs.events import JobEvents
from service.core.jobs.provenance import Provenance
from service.core.jobs.quarantine import Quarantine
from service.core.jobs.record import Job, JobError, Progress, Result, State
from service.core.jobs.room import RECORD_OVERHEAD, Quota, Room
from service.core.jobs.stored import UnreadableRecord, dump, load
from service.core.jobs.turns import Turns
from service.core.jobs.webhooks import Webhooks
from service.core.model_info import ModelInfo
from service.core.transactions import DONE, Limit, Transactions

KEPT_AFTER_EXPIRY = timedelta(days=7)  # record lifetime, so that late callers see "expired" instead of 404
PAGE = 500  # records read in one round trip
ENQUEUE_SECONDS = 10  # time a gateway has to enqueue a recorded job
INDEX_KEPT = timedelta(days=30)  # lifetime of an owner's index after its last job; longer than any record

_Scored = list[tuple[str, float]]  # members and scores of a sorted set


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


class JobStore:
    """Jobs by id. Every change is a compare-and-set, so of two concurrent writers one wins.

    Each change updates the job's events, counters and schedules in the same transaction. Methods that read a
    record raise UnreadableRecord where they do not say otherwise.
    """

    def __init__(self, redis: Redis, prefix: str = "oflow") -> None:
        self.redis = redis
        self.prefix = prefix
        self.events = JobEvents(redis, prefix)
        self.counters = Counters(redis, prefix)
        self.room = Room(redis, prefix)
        self.turns = Turns(redis, prefix)
        self._transactions = Transactions(redis)
        # Schedules: job id → time at which
        self.expiry = f"{prefix}:expiry"  # its files are deleted
        self.unsent = f"{prefix}:unsent"  # it is enqueued, unless its gateway has done so
        self.leased = f"{prefix}:leased"  # it is re-enqueued, unless its worker renews the lease
        self.webhooks = Webhooks(redis, prefix)
        schedules = self.unsent, self.leased, self.webhooks.schedule
        self.quarantined = Quarantine(redis, prefix, self.counters, schedules)

    def key(self, job_id: str) -> str:
        return f"{self.prefix}:job:{job_id}"

    def waiting_key(self, model: str) -> str:
        return f"{self.prefix}:waiting:{model}"

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
        pipe.zadd(self.room.index(job.owner), {job.id: _microseconds(job.created_at)})
        pipe.incrby(self.room.stored(job.owner), len(text.encode()) + RECORD_OVERHEAD)
        for key in (self.room.index(job.owner), self.room.stored(job.owner)):
            pipe.expire(key, INDEX_KEPT)
        pipe.zadd(self.expiry, {job.id: job.expires_at.timestamp()})
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

    def sent(self, job_id: str) -> None:
        """Record that the job has been enqueued."""
        self.redis.zrem(self.unsent, job_id)

    def enqueue_again(self, job: Job) -> None:
        """Have a gateway enqueue an open job whose message is lost."""
        self.redis.zadd(self.unsent if job.state is State.QUEUED else self.leased, {job.id: 0.0})

    def get(self, job_id: str) -> Job | None:
        """The job as its caller sees it: an ended job past `expires_at` is expired."""
        return _parse(job_id, cast(str | None, self.redis.get(self.key(job_id))))

    def read(self, job_ids: list[str]) -> list[Job]:
        """Those of the jobs that have a record. Unreadable ones go into quarantine."""
        found = []
        texts = self.redis.mget([self.key(job_id) for job_id in job_ids]) if job_ids else []
        for job_id, text in zip(job_ids, texts, strict=True):
            try:
                job = _parse(job_id, cast(str | None, text))
            except UnreadableRecord as error:
                self.quarantined.add(error)
                continue
            if job is not None:
                found.append(job)
        return found

    def all(self) -> Iterator[Job]:
        """Every job that has a record, in no order; for operators. Unreadable ones go into quarantine."""
        keys = self.redis.scan_iter(match=self.key("*"), count=PAGE)
        while page := [str(key).rpartition(":")[2] for key in islice(keys, PAGE)]:
            yield from self.read(page)

    def newest(self, owner: str, before: tuple[int, str] | None, count: int) -> Iterator[tuple[int, Job]]:
        """Jobs of an owner, newest first, each with its position; reads `count` at a time.

        With `before`, starts after this position and id. Unreadable records go into quarantine.
        """
        index = self.room.index(owner)
        last = before or (2**62, "")
        start = self.redis.zcount(index, f"({last[0]}", "+inf")
        gone = []
        while found := cast(_Scored, self.redis.zrevrange(index, start, start + count - 1, withscores=True)):
            start += len(found)
            texts = self.redis.mget([self.key(name) for name, _ in found])
            for (name, score), text in zip(found, texts, strict=True):
                position = (int(score), name)
                try:
                    job = _parse(name, cast(str | None, text))
                except UnreadableRecord as error:
                    self.quarantined.add(error)
                    continue
                if job is None:
                    gone.append(name)
                elif position < last:  # new jobs shift the index, so some may be read twice
                    last = position
                    yield position[0], job
        if gone:
            self.redis.zrem(index, *gone)

    def queue_position(self, job: Job) -> int | None:
        """Number of jobs ahead of this one in its model's queue; None once it has started."""
        if job.state is not State.QUEUED:
            return None
        return self.turns.position(job.model, job.id)

    def waiting(self, model: str) -> tuple[int, float | None]:
        """Number of jobs waiting for a model, and the time at which the oldest was created."""
        key = self.waiting_key(model)
        with self.redis.pipeline() as pipe:
            pipe.zcard(key)
            pipe.zrange(key, 0, 0, withscores=True)
            count, first = pipe.execute()
        return int(count), float(first[0][1]) if first else None

    def overdue(self, model: str, before: float, count: int) -> list[str]:
        """Ids of jobs that have been waiting for a model since that time or longer, the oldest first."""
        key = self.waiting_key(model)
        return cast(list[str], self.redis.zrangebyscore(key, "-inf", before, start=0, num=count))

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
        done = Progress(stage="done", percent=100)

        def change(current: Job) -> Job:
            return current.ended(State.SUCCEEDED, result=result).with_(progress=done)

        if self._update_attempt(job, change) is not None:
            return True
        # This call may have ended the job itself and been repeated after losing the connection.
        current = self.get(job.id)
        return current is not None and current.state is State.SUCCEEDED and current.attempt == job.attempt

    def fail(self, job: Job, error: JobError) -> bool:
        """End an attempt with an error. Returns False if the attempt is no longer current."""
        return self._update_attempt(job, lambda current: current.ended(State.FAILED, error=error)) is not None

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
            return _expired(job).with_(expires_at=min(job.expires_at, datetime.now(UTC)))

        return self._update(job_id, change)

    def bring_forward(self, job_id: str) -> Job | None:
        """Give a waiting job the first priority, behind those that have it. None if it has started."""
        return self._update(
            job_id, lambda job: job.with_(queue_priority=0) if job.state is State.QUEUED else None
        )

    def _update_attempt(self, job: Job, change: Callable[[Job], Job]) -> Job | None:
        return self._update(job.id, lambda current: change(current) if _is_attempt(current, job) else None)

    def _update(self, job_id: str, change: Callable[[Job], Job | None]) -> Job | None:
        """Read, change and write a job, retrying on concurrent writes. Returns None if `change` does."""
        key = self.key(job_id)
        while True:
            text = cast(str | None, self.redis.get(key))
            before = None if text is None else load(job_id, text)
            after = change(before) if before else None
            if text is None or before is None or after is None:
                return None
            after = after.with_(version=before.version + 1)
            pipe = self.redis.pipeline()
            new = dump(after, text)
            pipe.set(key, new, keepttl=True)
            size = self.events.append(pipe, before, after, before.expires_at + KEPT_AFTER_EXPIRY)
            pipe.incrby(self.room.stored(after.owner), len(new.encode()) - len(text.encode()) + size)
            self.counters.changed(pipe, before, after)
            if before.state is State.QUEUED and after.state is not State.QUEUED:
                pipe.zrem(self.waiting_key(after.model), after.id)
                pipe.zrem(self.unsent, after.id)
                self.turns.remove(pipe, after)
            if before.queue_priority != after.queue_priority:
                self.turns.bring_forward(pipe, after)
            if before.attempt != after.attempt or not after.state.open:
                pipe.zrem(self.leased, after.id)
            if before.state.open and not after.state.open:
                pipe.srem(self.turns.open(after.owner), after.id)
                self.turns.ended(pipe, after)
                if after.webhook_url:
                    self.webhooks.add(pipe, after, new, before.expires_at + KEPT_AFTER_EXPIRY)
            if self._transactions.apply(pipe, {key: text}) == DONE:
                return after


def _is_attempt(current: Job, job: Job) -> bool:
    return current.state is State.RUNNING and current.attempt == job.attempt


def _parse(job_id: str, text: str | None) -> Job | None:
    if text is None:
        return None
    job = load(job_id, text)
    if not job.state.open and job.expires_at <= datetime.now(UTC):
        return _expired(job)
    return job


def _expired(job: Job) -> Job:
    options = {name: value for name, value in job.options.items() if name != "metadata"}
    return job.with_(state=State.EXPIRED, result=None, provenance=None, options=options)


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)


def _seconds(job: Job) -> int:
    return job.estimate.whole_seconds if job.estimate else 0
