"""`Idempotency-Key`: a request that is sent again finds the job that it made the first time."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import cast

from redis import Redis
from redis.exceptions import RedisError

# Renewed while a request is worked on: the keys of a gateway that was killed are soon free for its callers.
LEASE_SECONDS = 6


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
        self._held: set[str] = set()  # by requests that this process works on

    def key(self, owner: str, name: str) -> str:
        """Where the reservation of a caller's idempotency key lies in Redis."""
        return f"{self.prefix}:idempotency:{owner}:{hashlib.sha256(name.encode()).hexdigest()}"

    def reserve(self, key: str, wanted: Reservation) -> Reservation | None:
        """Take the key. None: it is ours for a few seconds; else the reservation that was there before."""
        while not self.redis.set(key, f"{wanted.job_id} {wanted.fingerprint}", nx=True, ex=LEASE_SECONDS):
            found = cast(str | None, self.redis.get(key))
            if found is not None:  # it may lapse between the two calls
                return Reservation(*found.split(" "))
        return None

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        """Keep a reserved key while its request is worked on; give it back where that comes to nothing."""
        self._held.add(key)
        try:
            yield
        except RedisError:
            raise  # the job may be recorded: then the key is its own, else it lapses
        except BaseException:
            with suppress(RedisError):
                self.redis.delete(key)
            raise
        finally:
            self._held.discard(key)

    def renew(self) -> None:
        """To be called every second or two, for the keys that are held."""
        for key in tuple(self._held):
            self.redis.expire(key, LEASE_SECONDS, gt=True)  # gt: not once it lives as long as its job
