"""What the service has stored in Redis and in the object store."""

from dataclasses import dataclass

from redis import Redis

from tests.suites.load.stack import Stack

SIZES = {"hash": "HLEN", "list": "LLEN", "set": "SCARD", "stream": "XLEN", "zset": "ZCARD"}


@dataclass(frozen=True)
class Stored:
    """Keys in Redis, the entries of those that never expire, and objects in the store."""

    keys: int
    lasting: int
    objects: int

    @classmethod
    def now(cls, stack: Stack) -> "Stored":
        pages = stack.store.client().get_paginator("list_objects_v2").paginate(Bucket=stack.store.bucket)
        objects = sum(len(page.get("Contents", [])) for page in pages)
        with Redis.from_url(stack.redis.url, decode_responses=True) as redis:
            names = [str(name) for name in redis.scan_iter(count=1000)]
            lasting = sum(_entries(redis, name) for name in names if redis.ttl(name) == -1)
        return cls(len(names), lasting, objects)


def _entries(redis: Redis, name: str) -> int:
    command = SIZES.get(str(redis.type(name)))
    return int(redis.execute_command(command, name)) if command else 1  # type: ignore[no-untyped-call]
