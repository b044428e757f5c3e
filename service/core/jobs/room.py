"""How much of Redis the records of one owner may take, and how much room Redis has left."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import cast

from redis import Redis

RECORD_OVERHEAD = 3072  # bytes that Redis needs for a job besides the texts of its record and events
EVENT_OVERHEAD = 96
RECOUNT_SECONDS = 10  # between two recounts of one owner
KEPT_SHARE = 0.9  # of a quota that is left once the oldest expired records have given way
TIGHT, FULL = 0.75, 0.9  # shares of Redis' memory: quotas shrink from the first on and are zero at the second
BATCH = 500


@dataclass(frozen=True)
class Quota:
    """The records that one owner may have: their number, and the memory they take in bytes."""

    records: int
    bytes: int

    def shrunk(self, share: float) -> "Quota":
        return Quota(int(self.records * share), int(self.bytes * share))


class Memory:
    """The memory of Redis, asked for once a second at most."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._asked, self._used = float("-inf"), 0.0

    def used(self) -> float:
        """Which share of its `maxmemory` Redis uses; 0 if that is not set."""
        now = time.monotonic()
        if now - self._asked > 1:
            memory = self.redis.info("memory")
            limit = int(memory.get("maxmemory", 0))
            self._asked, self._used = now, int(memory["used_memory"]) / limit if limit else 0.0
        return self._used

    def share(self) -> float:
        """Which share of its quota each owner may use: 1 while there is room, 0 once Redis is nearly full."""
        return min(1.0, max(0.0, (FULL - self.used()) / (FULL - TIGHT)))


class Room:
    """What the records of each owner take.

    `{prefix}:stored:{owner}` is an estimate of the bytes, kept up to date by each change of a record. Records
    that Redis itself deletes still count, until `make` counts anew and asks Redis for each size.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self.redis = redis
        self.prefix = prefix

    def index(self, owner: str) -> str:
        """The key of the sorted set of the owner's jobs, by creation time."""
        return f"{self.prefix}:jobs:{owner}"

    def stored(self, owner: str) -> str:
        return f"{self.prefix}:stored:{owner}"

    def make(self, owner: str, quota: Quota) -> bool:
        """Count the owner's records anew, and delete the oldest expired ones beyond nine tenths of the quota.

        Returns False if that was done within the last seconds.
        """
        lock = f"{self.prefix}:recount:{owner}"
        if not self.redis.set(lock, "1", nx=True, ex=RECOUNT_SECONDS):
            return False
        counted = int(cast(str | None, self.redis.get(self.stored(owner))) or 0)
        sizes = dict(self._sizes(owner))
        total, kept = sum(sizes.values()), len(sizes)
        wanted = quota.shrunk(KEPT_SHARE)
        for job_id, size in sizes.items():
            if total <= wanted.bytes and kept <= wanted.records:
                break
            if self.redis.zscore(f"{self.prefix}:expiry", job_id) is None:  # its files have been deleted
                self._forget(owner, job_id)
                total, kept = total - size, kept - 1
        self.redis.incrby(self.stored(owner), total - counted)
        return True

    def wait(self, owner: str) -> int:
        """Seconds, at least one, until `make` counts anew and finds a record that has expired.

        Of very many records the oldest are asked.
        """
        recount = self.redis.ttl(f"{self.prefix}:recount:{owner}")
        names = cast(list[str], self.redis.zrange(self.index(owner), 0, BATCH - 1))
        scores = self.redis.zmscore(f"{self.prefix}:expiry", names) if names else []
        first = min((score or 0.0 for score in scores), default=0.0)  # none: its files have been deleted
        return max(1, recount, ceil(first - time.time()))

    def _sizes(self, owner: str) -> Iterator[tuple[str, int]]:
        """Id and bytes of each record, the oldest first; drops those that are gone from the index."""
        names = cast(list[str], self.redis.zrange(self.index(owner), 0, -1))
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            with self.redis.pipeline(transaction=False) as pipe:
                for name in batch:
                    pipe.memory_usage(f"{self.prefix}:job:{name}")
                    pipe.memory_usage(f"{self.prefix}:events:{name}")
                found = pipe.execute()
            for name, record, events in zip(batch, found[::2], found[1::2], strict=True):
                if record is None:
                    self.redis.zrem(self.index(owner), name)
                else:
                    yield name, record + (events or 0)

    def _forget(self, owner: str, job_id: str) -> None:
        with self.redis.pipeline() as pipe:
            pipe.delete(f"{self.prefix}:job:{job_id}", f"{self.prefix}:events:{job_id}")
            pipe.zrem(self.index(owner), job_id)
            pipe.execute()
