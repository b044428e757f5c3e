"""Job records in Redis, the single source of truth for a job's state: reading them, and changing one."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import cast

from redis import Redis

from service.core.counters import Counters
from service.core.jobs.events import JobEvents
from service.core.jobs.quarantine import Quarantine
from service.core.jobs.record import Job, State
from service.core.jobs.room import Room
from service.core.jobs.stored import UnreadableRecord, dump, load
from service.core.jobs.turns import Turns
from service.core.jobs.webhooks import Webhooks
from service.core.transactions import DONE, Transactions

KEPT_AFTER_EXPIRY = timedelta(days=7)  # record lifetime, so that late callers see "expired" instead of 404
PAGE = 500  # records read in one round trip

_Scored = list[tuple[str, float]]  # members and scores of a sorted set


class JobRecords:
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


def _parse(job_id: str, text: str | None) -> Job | None:
    if text is None:
        return None
    job = load(job_id, text)
    if not job.state.open and job.expires_at <= datetime.now(UTC):
        return expired(job)
    return job


def expired(job: Job) -> Job:
    """The least of a job that is kept when its files are deleted: neither result nor metadata."""
    options = {name: value for name, value in job.options.items() if name != "metadata"}
    return job.with_(state=State.EXPIRED, result=None, provenance=None, options=options)
