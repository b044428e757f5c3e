"""`Idempotency-Key` support: a repeated request returns the job created by the first one."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import cast

from redis import Redis
from redis.exceptions import RedisError

LEASE_SECONDS = 6  # renewed while the request is processed, so keys held by a killed gateway are soon free


@dataclass(frozen=True)
class Reservation:
    """The job reserved for an idempotency key, and the fingerprint of the request's content."""

    job_id: str
    fingerprint: str


class Idempotency:
    """Idempotency keys, scoped to their owner.

    A reservation lapses after `LEASE_SECONDS` unless `JobStore.create` extends it to the job's lifetime.
    """

    def __init__(self, redis: Redis, prefix: str = "oflow") -> None:
        self.redis = redis
        self.prefix = prefix
        self._held: set[str] = set()  # by requests in progress in this process

    def key(self, owner: str, name: str) -> str:
        """The Redis key that stores the reservation."""
        return f"{self.prefix}:idempotency:{owner}:{hashlib.sha256(name.encode()).hexdigest()}"

    def reserve(self, key: str, requested: Reservation) -> Reservation | None:
        """Reserve the key and return None, or return the reservation that already exists."""
        value = f"{requested.job_id} {requested.fingerprint}"
        while not self.redis.set(key, value, nx=True, ex=LEASE_SECONDS):
            if found := self.find(key):  # None if it lapsed between the two calls
                return found
        return None

    def find(self, key: str) -> Reservation | None:
        """The reservation of the key, if there is one."""
        found = cast(str | None, self.redis.get(key))
        return None if found is None else Reservation(*found.split(" "))

    def is_kept(self, key: str) -> bool:
        """Whether the job of the reservation has been created, since the key lives as long as that."""
        return self.redis.ttl(key) > LEASE_SECONDS

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        """Keep a reserved key while its request is processed; release it if the request fails."""
        self.hold(key)
        try:
            yield
        except RedisError:
            raise  # the job may have been recorded and own the key by now; otherwise the key lapses
        except BaseException:
            self.release(key)
            raise
        finally:
            self.let_go(key)

    def hold(self, key: str) -> None:
        """Renew a reserved key until `let_go`."""
        self._held.add(key)

    def let_go(self, key: str) -> bool:
        """Renew a key no longer, so that it lapses. Returns whether it was held."""
        was_held = key in self._held
        self._held.discard(key)
        return was_held

    def release(self, key: str) -> None:
        """Free a reserved key for other requests."""
        with suppress(RedisError):
            self.redis.delete(key)

    def renew(self) -> None:
        """Extend the leases of all held keys; called every second or two."""
        for key in tuple(self._held):
            self.redis.expire(key, LEASE_SECONDS, gt=True)  # gt: never shorten a key that lives with its job
