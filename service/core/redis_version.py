"""A Redis that is too old is named at start, instead of failing in the middle of requests."""

from redis import Redis
from redis.exceptions import RedisError

from service.core.settings import Settings

OLDEST = 7, 0  # EXPIRE with NX and GT


def require_version(settings: Settings) -> None:
    """Exit with a message if Redis is too old; a Redis that does not answer is reported elsewhere."""
    url = settings.redis_url.get_secret_value()
    try:
        with Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3, retry=None) as redis:
            found = str(
                redis.info("server")["redis_version"]
            )  # Valkey says with which Redis it is compatible
    except (RedisError, KeyError):
        return
    if fault := too_old(found):
        raise SystemExit(f"OFLOW_REDIS_URL: {fault}")


def too_old(version: str) -> str | None:
    """What is wrong with this version of Redis, if anything."""
    parts = version.split(".")[:2]
    if all(part.isdigit() for part in parts) and tuple(map(int, parts)) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        return f"Redis {version} is too old: version {wanted} or later is wanted, or Valkey"
    return None
