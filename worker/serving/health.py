"""`python -m worker.serving.health`: container health check for the workers of this host.

Exits with 0 if a worker has a current heartbeat in the registry and its model is known there, otherwise
with 1 and a message.
"""

import socket
import time
from typing import cast

from redis import Redis
from redis.exceptions import RedisError

from service.core.registry import Registry
from service.core.settings import get_settings

TIMEOUT_SECONDS = 3  # for Redis


def check(redis: Redis, host: str) -> str | None:
    """None if a worker of `host` is alive and jobs for its model are accepted, otherwise a message."""
    registry = Registry(redis)
    try:
        members = cast(list[str], redis.zrangebyscore(registry.workers_key, time.time(), "+inf"))
        known = registry.models()
    except RedisError as error:
        return f"Redis is not reachable: {error}"
    # members are model/host:pid, see worker.serving.context.worker_name
    models = [
        model for model, _, worker in (m.rpartition("/") for m in members) if worker.startswith(f"{host}:")
    ]
    if not models:
        return f"no live worker on {host}"
    lost = ", ".join(sorted(set(models) - known.keys()))
    return f"Redis does not know the model {lost}; the worker's next beat should tell it" if lost else None


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
