"""Things to do at a time, in Redis sorted sets: several processes may look, one of them gets each thing."""

import time
from collections.abc import Callable
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline


def due(redis: Redis, key: str, lease: float, most: int) -> list[str]:
    """Members of the set whose time has come, for this caller alone.

    Each is put off by `lease` seconds: it comes again, to anyone, unless it was taken out by then.
    """
    now = time.time()
    names = cast(list[str], redis.zrangebyscore(key, "-inf", now, start=0, num=most))
    return [name for name in names if _take(redis, key, name, now, now + lease)]


def _take(redis: Redis, key: str, name: str, now: float, later: float) -> bool:
    def attempt(pipe: Pipeline) -> bool:
        score = pipe.zscore(key, name)
        pipe.multi()
        if score is None or score > now:
            return False
        pipe.zadd(key, {name: later})
        return True

    transaction: Callable[..., Any] = redis.transaction  # its stub knows no returning callable
    return bool(transaction(attempt, key, value_from_callable=True))
