"""Webhooks to send: the event as it was when its job ended, and what came of sending it."""

import time
from datetime import UTC, datetime
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline

from service.core.jobs.record import Job
from service.core.jobs.stored import load
from service.core.jobs.views import WebhookStatus


class Webhooks:
    """One Redis hash per event, which lives as long as the job's record, and a schedule of deliveries."""

    def __init__(self, redis: Redis, prefix: str = "oflow") -> None:
        self.redis = redis
        self.prefix = prefix
        self.schedule = f"{prefix}:webhooks"  # sorted set: job id → time of the next attempt

    def key(self, job_id: str) -> str:
        return f"{self.prefix}:webhook:{job_id}"

    def add(self, pipe: Pipeline, job: Job, record: str, gone: datetime) -> None:
        """Keep the event of a job that ends with this record, and schedule its delivery."""
        fields: dict[Any, Any] = {"owner": job.owner, "record": record, "state": "pending", "attempts": 0}
        pipe.hset(self.key(job.id), mapping=fields)
        pipe.expireat(self.key(job.id), gone)
        pipe.zadd(self.schedule, {job.id: time.time()})

    def event(self, job_id: str) -> Job | None:
        """The job as it ended; None if it has no event. Raises UnreadableRecord."""
        text = cast(str | None, self.redis.hget(self.key(job_id), "record"))
        return None if text is None else load(job_id, text)

    def owners(self, job_ids: list[str]) -> list[str]:
        """The owner of each event, "" if that is not known."""
        with self.redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hget(self.key(job_id), "owner")
            return [owner or "" for owner in pipe.execute()]

    def status(self, job_id: str) -> WebhookStatus | None:
        """What came of the event; None if the job has none."""
        names = ("state", "attempts", "last_error")
        state, attempts, error = cast(list[str | None], self.redis.hmget(self.key(job_id), names))
        if state is None:
            return None
        due = self.redis.zscore(self.schedule, job_id)
        return WebhookStatus(
            state=cast(Any, state),
            attempts=int(attempts or 0),
            last_error=error or None,
            next_attempt_at=datetime.fromtimestamp(float(due), UTC) if due else None,
        )

    def count_attempt(self, job_id: str) -> int:
        return int(self.redis.hincrby(self.key(job_id), "attempts", 1))

    def postpone(self, job_id: str, seconds: float, error: str | None = None) -> None:
        """Make the next attempt after `seconds`, unless the event is no longer scheduled."""
        if error is not None:
            self.redis.hset(self.key(job_id), "last_error", error)
        self.redis.zadd(self.schedule, {job_id: time.time() + seconds}, xx=True)

    def end(self, job_id: str, error: str | None) -> None:
        """Stop sending the event: it was delivered, or with an `error`, given up."""
        fields = {"state": "failed" if error else "delivered", "last_error": error or ""}
        with self.redis.pipeline() as pipe:
            pipe.zrem(self.schedule, job_id)
            if self.redis.exists(self.key(job_id)):  # not one that has expired meanwhile
                pipe.hset(self.key(job_id), mapping=cast(Any, fields))
            pipe.execute()

    def redeliver(self, job_id: str) -> bool:
        """Send the event again, with all attempts. False if the job has none."""
        if not self.redis.exists(self.key(job_id)):
            return False
        with self.redis.pipeline() as pipe:
            pipe.hset(self.key(job_id), mapping={"state": "pending", "attempts": "0", "last_error": ""})
            pipe.zadd(self.schedule, {job_id: time.time()})
            pipe.execute()
        return True
