"""`python -m worker.serving.health`: whether a worker of this host is alive, for a container's health check.

Exit code 0 while one has a beat in the registry that still counts, else 1 and a line that says what is wrong.
"""

import socket
import time

from redis import Redis
from redis.exceptions import RedisError

from service.core.registry import Registry
from service.core.settings import get_settings

SECONDS = 3  # for Redis to answer


def fault(redis: Redis, host: str) -> str | None:
    """What is wrong with the workers of `host`; None where one is alive."""
    try:
        members = redis.zrangebyscore(Registry(redis).workers_key, time.time(), "+inf")
    except RedisError as error:
        return f"Redis does not answer: {error}"
    # model/host:pid, see worker.serving.context.worker_name
    if any(str(member).rsplit("/", 1)[-1].startswith(f"{host}:") for member in members):
        return None
    return f"no worker of {host} is alive"


def main() -> None:
    url = get_settings().redis_url.get_secret_value()
    redis = Redis.from_url(
        url, decode_responses=True, socket_connect_timeout=SECONDS, socket_timeout=SECONDS, retry=None
    )
    raise SystemExit(fault(redis, socket.gethostname()))


if __name__ == "__main__":
    main()
