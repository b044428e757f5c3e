"""How many requests a key may make: so many in each minute from its first one on."""

from dataclasses import dataclass

from redis import Redis

WINDOW = 60  # seconds


@dataclass(frozen=True)
class Usage:
    """Where a key stands: how many requests it may make, has left, and seconds until all come back."""

    most: int
    remaining: int
    reset: int

    @property
    def exceeded(self) -> bool:
        return self.remaining < 0

    @property
    def headers(self) -> dict[str, str]:
        """The fields of draft-ietf-httpapi-ratelimit-headers."""
        return {
            "RateLimit-Policy": f'"requests";q={self.most};w={WINDOW}',
            "RateLimit": f'"requests";r={max(0, self.remaining)};t={self.reset}',
        }


def count_request(redis: Redis, key_id: str, most: int, prefix: str = "oflow") -> Usage:
    """Count one request of a key."""
    name = f"{prefix}:rate:{key_id}"
    with redis.pipeline(transaction=False) as pipe:
        pipe.incr(name)
        pipe.expire(name, WINDOW, nx=True)
        pipe.ttl(name)
        used, _, left = pipe.execute()
    return Usage(most, most - int(used), max(1, int(left)))
