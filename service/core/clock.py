"""The clock of this machine against that of Redis, by which machines agree on leases and expiries."""

import time

from redis import Redis
from redis.exceptions import RedisError

from service.core.settings import Settings

MOST_SECONDS = 60.0  # of difference; object stores refuse signatures at 15 minutes


def clock_fault(redis: Redis) -> str | None:
    """What is wrong with this machine's clock, if anything."""
    start = time.time()
    seconds, microseconds = redis.time()
    ahead = (start + time.time()) / 2 - seconds - microseconds / 1e6
    if abs(ahead) <= MOST_SECONDS:
        return None
    found = f"{abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} that of Redis"
    return f"the clock is {found}: set it, for example by NTP; {MOST_SECONDS:.0f} s are accepted"


def require_clock(settings: Settings) -> None:
    """Exit with a message if the clock is wrong; a Redis that does not answer is reported elsewhere."""
    url = settings.redis_url.get_secret_value()
    try:
        with Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3, retry=None) as redis:
            fault = clock_fault(redis)
    except RedisError:
        return
    if fault:
        raise SystemExit(fault)
