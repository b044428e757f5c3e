"""Records that cannot be read are set aside, so that each troubles only its own caller."""

import logging
import time
from collections.abc import Iterable

from redis import Redis
from redis.exceptions import OutOfMemoryError

from service.core.counters import Counters
from service.core.jobs.record import State
from service.core.jobs.stored import UnreadableRecord

log = logging.getLogger(__name__)
KEPT_SECONDS = 14 * 24 * 3600.0  # no record lives longer


class Quarantine:
    """A sorted set of the ids of unreadable records, by the time at which they were found.

    The record itself stays in place until it expires: for the operator, and for a later version that can read
    it. Its files are still deleted in time, since only its id is needed for that.
    """

    def __init__(self, redis: Redis, prefix: str, counters: Counters, schedules: Iterable[str]) -> None:
        self.redis = redis
        self.counters = counters
        self.prefix = prefix
        self.key = f"{prefix}:quarantine"
        self.schedules = tuple(schedules)  # keys of the sorted sets that an unreadable job must leave

    def add(self, error: UnreadableRecord) -> None:
        """Take the job out of the schedules, its queue and its owner's open jobs."""
        now = time.time()
        waiting = self._keys("waiting", error.model)
        turns = self._keys("turns", error.model)
        open_jobs = self._keys("open", error.owner)
        with self.redis.pipeline() as pipe:
            pipe.zadd(self.key, {error.job_id: now}, nx=True)
            pipe.zremrangebyscore(self.key, "-inf", now - KEPT_SECONDS)
            for key in self.schedules:
                pipe.zrem(key, error.job_id)
            for key in open_jobs:
                pipe.srem(key, error.job_id)
            for key in (*turns, *waiting):
                pipe.zrem(key, error.job_id)
            try:
                added, _, *removed = pipe.execute()
            except OutOfMemoryError:  # the record is met again
                log.error("%s; Redis is too full to set it aside", error, extra={"job_id": error.job_id})
                return
        if added:
            log.error("%s; it is set aside", error, extra={"job_id": error.job_id})
            queued = [key for key, was_there in zip(waiting[::-1], removed[::-1], strict=False) if was_there]
            if queued:
                self.counters.set_aside(queued[0].removeprefix(f"{self.prefix}:waiting:"), State.QUEUED)
            elif error.model and error.state:
                self.counters.set_aside(error.model, error.state)

    def size(self) -> int:
        return int(self.redis.zcard(self.key))

    def _keys(self, kind: str, name: str) -> list[str]:
        """The key of that kind and name; all of that kind if the record does not tell the name."""
        if name:
            return [f"{self.prefix}:{kind}:{name}"]
        return list(self.redis.scan_iter(f"{self.prefix}:{kind}:*"))
