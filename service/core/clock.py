"""The clock of this machine against that of Redis, by which machines agree on leases and expiries."""

import threading
import time

from redis import Redis
from redis.exceptions import RedisError

from service.core.settings import Settings

MOST_SECONDS = 60.0  # of difference; object stores refuse signatures at 15 minutes
FRESH_SECONDS = 1.0  # for which a reading is shared


def clock_fault(redis: Redis) -> str | None:
    """What is wrong with this machine's clock, if anything."""
    start = time.time()
    seconds, microseconds = redis.time()
    ahead = (start + time.time()) / 2 - seconds - microseconds / 1e6
    if abs(ahead) <= MOST_SECONDS:
        return None
    found = f"{abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} that of Redis"
    return f"the clock is {found}: set it, for example by NTP; {MOST_SECONDS:.0f} s are accepted"


class Clock:
    """The clock of this machine, compared with that of Redis once a second for all who ask."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._fault: str | None = None

    def fault(self) -> str | None:
        """What is wrong with the clock, if anything."""
        with self._lock:
            now = time.time()
            if not 0 <= now - self._asked < FRESH_SECONDS:  # by the clock itself, so that a jump is noticed
                self._asked, self._fault = now, clock_fault(self.redis)
            return self._fault


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
