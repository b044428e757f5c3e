"""Scheduling of webhook deliveries and retries. The schedule is kept in Redis and survives restarts."""

import asyncio
import logging
import random
import time
from collections import Counter
from contextlib import suppress

from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from service.api.background.schedule import due
from service.api.dependencies import GatewayContext
from service.api.webhooks import TIMEOUT_SECONDS, deliver
from service.core.jobs.record import Job
from service.core.jobs.stored import UnreadableRecord

log = logging.getLogger(__name__)
MAX_ATTEMPTS = 8  # over about an hour and a half
FIRST_DELAY, FACTOR = 5.0, 3.0  # 5 s, 15 s, 45 s, … after the first, second, third attempt
LEASE = 2.0 * TIMEOUT_SECONDS  # if this process dies, another gateway retries after this
MAX_CONCURRENT = 50
MAX_CONCURRENT_PER_OWNER = 10
POSTPONE_SECONDS = 1.0  # delay when an owner is at its limit, so that others go first


def retry_delay(attempt: int) -> float | None:
    """Seconds until the next attempt, with jitter; None after the last attempt."""
    if attempt >= MAX_ATTEMPTS:
        return None
    return FIRST_DELAY * FACTOR ** (attempt - 1) * random.uniform(1.0, 1.2)  # noqa: S311 - no secret  # nosec B311


class WebhookDelivery:
    """Sends due webhooks concurrently, with a limit per owner so that slow receivers do not block others."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._per_owner: Counter[str] = Counter()  # owner → attempts in progress

    async def send_due(self, context: GatewayContext) -> None:
        free = MAX_CONCURRENT - len(self._running)
        if context.settings.webhook_secret is None or free <= 0:
            return
        for job_id in await run_in_threadpool(due, context.redis, context.jobs.webhooks, LEASE, free):
            task = asyncio.create_task(self._send(context, job_id))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _send(self, context: GatewayContext, job_id: str) -> None:
        try:
            job = await run_in_threadpool(context.jobs.get, job_id)
            if job is None or job.webhook_url is None:
                delivered = True
            elif self._per_owner[job.owner] < MAX_CONCURRENT_PER_OWNER:
                delivered = await self._deliver(context, job)
            else:
                later = {job_id: time.time() + POSTPONE_SECONDS}
                await run_in_threadpool(context.redis.zadd, context.jobs.webhooks, later, xx=True)
                return
            await run_in_threadpool(_reschedule, context, job_id, delivered=delivered)
        except RedisError as error:
            log.warning("webhook of job %s postponed: %s", job_id, error)
        except UnreadableRecord as error:
            with suppress(RedisError):
                await run_in_threadpool(context.jobs.quarantined.add, error)
        except Exception:
            log.exception("unexpected error in the webhook of job %s", job_id)
            with suppress(RedisError):
                await run_in_threadpool(_reschedule, context, job_id, delivered=False)  # it counts as a try
                await run_in_threadpool(context.jobs.counters.failed, "send_webhooks")

    async def _deliver(self, context: GatewayContext, job: Job) -> bool:
        self._per_owner[job.owner] += 1
        try:
            return await deliver(context.settings, job)
        finally:
            self._per_owner[job.owner] -= 1
            if not self._per_owner[job.owner]:
                del self._per_owner[job.owner]


def _reschedule(context: GatewayContext, job_id: str, *, delivered: bool) -> None:
    """Schedule the next attempt of a failed delivery, or remove the webhook from the schedule."""
    schedule = context.jobs.webhooks
    attempts = f"{schedule}:attempts"
    delay = None if delivered else retry_delay(context.redis.hincrby(attempts, job_id, 1))
    if delay is not None:
        context.redis.zadd(schedule, {job_id: time.time() + delay})
        return
    if not delivered:
        log.warning("webhook of job %s: giving up", job_id, extra={"job_id": job_id})
    context.redis.zrem(schedule, job_id)
    context.redis.hdel(attempts, job_id)
