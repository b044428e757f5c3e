"""Fixed-window rate limit per key; the window starts with the key's first request."""

from dataclasses import dataclass

from redis import Redis
from redis.exceptions import OutOfMemoryError

WINDOW = 60  # seconds


@dataclass(frozen=True)
class Usage:
    """A key's request limit, the requests remaining, and the seconds until the window resets."""

    limit: int
    remaining: int
    reset: int

    @property
    def exceeded(self) -> bool:
        return self.remaining < 0

    @property
    def headers(self) -> dict[str, str]:
        """Header fields of draft-ietf-httpapi-ratelimit-headers."""
        return {
            "RateLimit-Policy": f'"requests";q={self.limit};w={WINDOW}',
            "RateLimit": f'"requests";r={max(0, self.remaining)};t={self.reset}',
        }


def count_request(redis: Redis, key_id: str, limit: int, prefix: str = "oflow") -> Usage:
    """Count a request and return the key's usage, this request included."""
    name = f"{prefix}:rate:{key_id}"
    with redis.pipeline(transaction=False) as pipe:
        pipe.incr(name)
        pipe.expire(name, WINDOW, nx=True)
        pipe.ttl(name)
        try:
            used, _, left = pipe.execute()
        except OutOfMemoryError:  # a Redis that is full can still be read, and jobs be canceled
            return Usage(limit, limit, WINDOW)
    return Usage(limit, limit - int(used), max(1, int(left)))
