"""Schedules in Redis sorted sets, scored by due time; each due entry is claimed by one process."""

import time
from collections.abc import Callable
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline


def due(
    redis: Redis,
    key: str,
    lease: float,
    limit: int,
    choose: Callable[[list[str]], list[str]] = lambda names: names,
) -> list[str]:
    """Claim due members of the set for this caller: of the first `limit`, those that `choose` returns.

    Each is rescheduled by `lease` seconds, so any process can claim it again unless it is removed by then.
    """
    now = time.time()
    names = choose(cast(list[str], redis.zrangebyscore(key, "-inf", now, start=0, num=limit)))
    return [name for name in names if _claim(redis, key, name, now, now + lease)]


def _claim(redis: Redis, key: str, name: str, now: float, later: float) -> bool:
    def attempt(pipe: Pipeline) -> bool:
        score = pipe.zscore(key, name)
        pipe.multi()
        if score is None or score > now:
            return False
        pipe.zadd(key, {name: later})
        return True

    transaction: Callable[..., Any] = redis.transaction  # the stub does not cover value_from_callable
    return bool(transaction(attempt, key, value_from_callable=True))
