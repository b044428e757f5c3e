"""Notification of job changes: one Redis subscription serves all waiting requests, without polling."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)
RECONNECT_SECONDS = 0.5


class Subscriptions:
    """Wakes requests that wait for a job.

    Notifications can be missed while Redis is unreachable, so waiters must use a timeout.
    """

    def __init__(self, url: str, channel: str) -> None:
        self.url = url
        self.channel = channel
        self.closing = False  # the process is shutting down: waiters return immediately
        self.open: Counter[str] = Counter()  # owner → responses waiting for one of their jobs
        self._waiters: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def listen(self) -> None:
        """Receive notifications until canceled."""
        while True:
            try:
                async with (
                    Redis.from_url(self.url, decode_responses=True, health_check_interval=10) as redis,
                    redis.pubsub() as subscription,
                ):
                    await subscription.subscribe(self.channel)
                    self._wake(*self._waiters)  # they may have missed changes before the subscription
                    async for message in subscription.listen():
                        if message["type"] == "message":
                            self._wake(message["data"])
            except RedisError as error:
                log.warning("lost the Redis subscription, reconnecting: %s", error)
                await asyncio.sleep(RECONNECT_SECONDS)

    @contextmanager
    def subscribe(self, job_id: str, owner: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the job changes."""
        event = asyncio.Event()
        self._waiters[job_id].add(event)
        self.open[owner] += 1
        try:
            yield event
        finally:
            self.open[owner] -= 1
            if not self.open[owner]:
                del self.open[owner]
            self._waiters[job_id].discard(event)
            if not self._waiters[job_id]:
                del self._waiters[job_id]

    def close(self) -> None:
        """Wake all waiters for shutdown."""
        self.closing = True
        self._wake(*self._waiters)

    def _wake(self, *job_ids: str) -> None:
        for job_id in job_ids:
            for event in self._waiters.get(job_id, ()):
                event.set()


async def changed(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event and clear it. Returns False on timeout."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    event.clear()
    return True
