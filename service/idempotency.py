"""`Idempotency-Key`: a request that is sent again finds the job that it made the first time."""

import hashlib
from dataclasses import dataclass
from typing import cast

from redis import Redis

# Time for an upload to be stored. A gateway killed meanwhile keeps the caller's retries away for so long.
RESERVED_SECONDS = 60


@dataclass(frozen=True)
class Reservation:
    """`job_id` belongs to the idempotency key; `fingerprint` is of what was sent with it."""

    job_id: str
    fingerprint: str


class Idempotency:
    """Idempotency keys of each owner. A reservation lapses unless a job is made of it: `JobStore.create` lets
    it live as long as the job."""

    def __init__(self, redis: Redis, prefix: str = "oflow") -> None:
        self.redis = redis
        self.prefix = prefix

    def key(self, owner: str, name: str) -> str:
        """Where the reservation of a caller's idempotency key lies in Redis."""
        return f"{self.prefix}:idempotency:{owner}:{hashlib.sha256(name.encode()).hexdigest()}"

    def reserve(self, key: str, wanted: Reservation) -> Reservation | None:
        """Take the key. None: it is ours; else the reservation that was there before."""
        while not self.redis.set(key, f"{wanted.job_id} {wanted.fingerprint}", nx=True, ex=RESERVED_SECONDS):
            found = cast(str | None, self.redis.get(key))
            if found is not None:  # it may lapse between the two calls
                return Reservation(*found.split(" "))
        return None

    def release(self, key: str) -> None:
        """Give a key back whose request came to nothing."""
        self.redis.delete(key)
