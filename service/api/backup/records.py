"""Keys of Redis as lines of JSON, which any Redis or Valkey takes back, whatever version wrote them."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from redis import Redis

from service.core.jobs.store import JobStore
from service.core.registry import Registry

SHORTEST_SECONDS = 60.0  # what lives no longer is about a request or a worker of this minute
PAGE = 500  # keys read in one round trip
_READ: dict[str, Callable[[Any, str], Any]] = {
    "string": lambda pipe, key: pipe.get(key),
    "hash": lambda pipe, key: pipe.hgetall(key),
    "set": lambda pipe, key: pipe.smembers(key),
    "zset": lambda pipe, key: pipe.zrange(key, 0, -1, withscores=True),
    "list": lambda pipe, key: pipe.lrange(key, 0, -1),
    "stream": lambda pipe, key: pipe.xrange(key),
}


def read_records(redis: Redis, prefix: str = "oflow") -> Iterator[str]:
    """A line for each key: its `key`, `type`, `value` and `expires`, in milliseconds since 1970 or -1.

    Each key is read at one moment, all of them over the time that this takes.
    """
    page: list[str] = []
    for key in redis.scan_iter(match=f"{prefix}:*", count=PAGE):
        page.append(str(key))
        if len(page) == PAGE:
            yield from _lines(redis, page)
            page = []
    yield from _lines(redis, page)


def _lines(redis: Redis, keys: list[str]) -> Iterator[str]:
    with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.type(key)
        kinds = [str(kind) for kind in pipe.execute()]
        known = [(key, kind) for key, kind in zip(keys, kinds, strict=True) if kind in _READ]
        for key, kind in known:
            _READ[kind](pipe, key)
            pipe.pexpiretime(key)
        answers = pipe.execute()
    soon = 1000 * (time.time() + SHORTEST_SECONDS)
    for number, (key, kind) in enumerate(known):
        value, expires = answers[2 * number], answers[2 * number + 1]
        if value and (expires == -1 or expires >= soon):  # -1: never, -2: it is gone
            value = sorted(value) if kind == "set" else value
            yield json.dumps({"key": key, "type": kind, "value": value, "expires": expires})


def write_records(redis: Redis, lines: Iterable[str]) -> int:
    """Create the keys of `lines` in Redis, and enqueue the jobs that were open; the number of keys.

    Beats of workers are left out: those of the backup's time are over.
    """
    count = 0
    registry, now = Registry(redis), 1000 * time.time()
    for line in lines:
        entry = json.loads(line)
        of_workers = entry["key"] in (registry.workers_key, registry.loaded_key)
        if of_workers or -1 < entry["expires"] <= now:
            continue
        with redis.pipeline() as pipe:
            pipe.delete(entry["key"])
            _write(pipe, entry["key"], entry["type"], entry["value"])
            if entry["expires"] != -1:
                pipe.pexpireat(entry["key"], entry["expires"])
            pipe.execute()
        count += 1
    jobs = JobStore(redis)
    for job in jobs.all():
        if job.state.open:
            jobs.enqueue_again(job)  # messages of the queue are in no backup
    return count


def _write(pipe: Any, key: str, kind: str, value: Any) -> None:
    if kind == "string":
        pipe.set(key, value)
    elif kind == "hash":
        pipe.hset(key, mapping=value)
    elif kind == "set":
        pipe.sadd(key, *value)
    elif kind == "zset":
        pipe.zadd(key, dict(value))
    elif kind == "list":
        pipe.rpush(key, *value)
    else:
        for entry, fields in value:
            pipe.xadd(key, fields, id=entry)


def job_count(redis: Redis) -> int:
    """Jobs that Redis knows."""
    return sum(1 for _ in cast(Iterator[str], redis.scan_iter(match=JobStore(redis).key("*"), count=PAGE)))
