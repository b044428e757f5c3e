"""The first key of a stack that wants keys."""

from redis import Redis

from service.api.keys import KeyStore


def first_key(redis_url: str) -> str | None:
    """The text of a new key, if there is none yet that is active."""
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        keys = KeyStore(redis)
        if any(key.is_active for key in keys.all()):
            return None
        return keys.create("first")[1]
