"""Waiting for a job to change, without asking Redis over and over: one subscription serves every waiter."""

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
    """Wakes those who wait for a job. A wake-up may be missed while Redis is away: wait with a timeout."""

    def __init__(self, url: str, channel: str) -> None:
        self.url = url
        self.channel = channel
        self.closing = False  # the process ends: nobody is to wait any longer
        self.held: Counter[str] = Counter()  # owner → answers that wait for one of their jobs
        self._waiters: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def listen(self) -> None:
        """Hear of changes until canceled."""
        while True:
            try:
                async with (
                    Redis.from_url(self.url, decode_responses=True, health_check_interval=10) as redis,
                    redis.pubsub() as subscription,
                ):
                    await subscription.subscribe(self.channel)
                    self._wake(*self._waiters)  # for what happened while we did not listen
                    async for message in subscription.listen():
                        if message["type"] == "message":
                            self._wake(message["data"])
            except RedisError as error:
                log.warning("Redis tells of no changes, asking again: %s", error)
                await asyncio.sleep(RECONNECT_SECONDS)

    @contextmanager
    def subscribe(self, job_id: str, owner: str) -> Iterator[asyncio.Event]:
        """An event that is set when the job changes."""
        event = asyncio.Event()
        self._waiters[job_id].add(event)
        self.held[owner] += 1
        try:
            yield event
        finally:
            self.held[owner] -= 1
            if not self.held[owner]:
                del self.held[owner]
            self._waiters[job_id].discard(event)
            if not self._waiters[job_id]:
                del self._waiters[job_id]

    def close(self) -> None:
        """Send everyone home."""
        self.closing = True
        self._wake(*self._waiters)

    def _wake(self, *job_ids: str) -> None:
        for job_id in job_ids:
            for event in self._waiters.get(job_id, ()):
                event.set()


async def changed(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event and clear it. False: it did not come in time."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    event.clear()
    return True
