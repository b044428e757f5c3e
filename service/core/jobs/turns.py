"""Whose turn it is: jobs of owners with few open jobs come before those of owners with many."""

import time
from typing import cast

from redis import Redis
from redis.client import Pipeline

from service.core.jobs.record import OPEN_OWNER, Job

LAST = 9  # the lowest priority
_SECONDS = 1e11  # more than any time since the epoch, so that priorities come before times


class Turns:
    """Priorities and the open work of each owner.

    The n-th open job of an owner has priority n, down to LAST, and never a higher one than its open jobs
    before: each owner's jobs keep their order. Within a priority, the oldest job comes first. An owner's
    oldest job that has waited long gets the first priority, see `service.api.background.aging`.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self.redis = redis
        self.prefix = prefix
        self.lowest = f"{prefix}:priorities"  # owner → priority of the latest job

    def open(self, owner: str) -> str:
        """The key of the set of the owner's open jobs."""
        return f"{self.prefix}:open:{owner}"

    def seconds(self, owner: str) -> str:
        """The key of the estimated seconds of the owner's open jobs."""
        return f"{self.prefix}:open-seconds:{owner}"

    def _order(self, model: str) -> str:
        return f"{self.prefix}:turns:{model}"

    def priority(self, owner: str) -> int:
        """The priority of the next job of an owner; without keys there is one owner, and one order."""
        if owner == OPEN_OWNER:
            return 0
        with self.redis.pipeline() as pipe:
            pipe.scard(self.open(owner))
            pipe.hget(self.lowest, owner)
            count, last = pipe.execute()
        if not count:
            self.redis.delete(self.seconds(owner))  # whatever was lost on the way, nothing is open
        return min(LAST, max(count, int(last or 0))) if count else 0

    def add(self, pipe: Pipeline, job: Job) -> None:
        pipe.zadd(
            self._order(job.model), {job.id: job.queue_priority * _SECONDS + job.created_at.timestamp()}
        )
        if job.owner != OPEN_OWNER:
            pipe.hset(self.lowest, job.owner, str(job.queue_priority))
        if job.estimate:
            pipe.incrby(self.seconds(job.owner), job.estimate.whole_seconds)

    def bring_forward(self, pipe: Pipeline, job: Job) -> None:
        """The job is now the last of the first priority."""
        pipe.zadd(self._order(job.model), {job.id: time.time()})

    def remove(self, pipe: Pipeline, job: Job) -> None:
        """The job has started, or ended before."""
        pipe.zrem(self._order(job.model), job.id)

    def ended(self, pipe: Pipeline, job: Job) -> None:
        if job.estimate:
            pipe.decrby(self.seconds(job.owner), job.estimate.whole_seconds)

    def position(self, model: str, job_id: str) -> int | None:
        """Number of jobs ahead of a waiting one."""
        return cast(int | None, self.redis.zrank(self._order(model), job_id))
