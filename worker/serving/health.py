"""`python -m worker.serving.health`: container health check for the workers of this host.

Exits with 0 if a worker has a current heartbeat in the registry, otherwise with 1 and a message.
"""

import socket
import time

from redis import Redis
from redis.exceptions import RedisError

from service.core.registry import Registry
from service.core.settings import get_settings

TIMEOUT_SECONDS = 3  # for Redis


def check(redis: Redis, host: str) -> str | None:
    """None if a worker of `host` is alive, otherwise a message."""
    try:
        members = redis.zrangebyscore(Registry(redis).workers_key, time.time(), "+inf")
    except RedisError as error:
        return f"Redis is not reachable: {error}"
    # members are model/host:pid, see worker.serving.context.worker_name
    if any(str(member).rsplit("/", 1)[-1].startswith(f"{host}:") for member in members):
        return None
    return f"no live worker on {host}"


def main() -> None:
    url = get_settings().redis_url.get_secret_value()
    redis = Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        retry=None,
    )
    raise SystemExit(check(redis, socket.gethostname()))


if __name__ == "__main__":
    main()
