"""Scheduling of webhook deliveries and retries. The schedule is kept in Redis and survives restarts."""

import asyncio
import logging
import random
from collections import Counter, defaultdict
from contextlib import suppress
from itertools import zip_longest

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
MAX_SCANNED = 10_000  # due events looked at in one go, so that a flood of one owner hides nobody's
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
        for job_id in await run_in_threadpool(self._claim, context, free):
            task = asyncio.create_task(self._send(context, job_id))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _claim(self, context: GatewayContext, free: int) -> list[str]:
        """Due events for which there is room, those of all owners in turn."""
        webhooks = context.jobs.webhooks

        def choose(due_ids: list[str]) -> list[str]:
            by_owner: defaultdict[str, list[str]] = defaultdict(list)
            for owner, job_id in zip(webhooks.owners(due_ids), due_ids, strict=True):
                if len(by_owner[owner]) + self._per_owner[owner] < MAX_CONCURRENT_PER_OWNER:
                    by_owner[owner].append(job_id)
            turns = zip_longest(*by_owner.values())
            return [job_id for turn in turns for job_id in turn if job_id is not None][:free]

        return due(context.redis, webhooks.schedule, LEASE, MAX_SCANNED, choose)

    async def _send(self, context: GatewayContext, job_id: str) -> None:
        try:
            job = await run_in_threadpool(_event, context, job_id)
            if job is None or job.webhook_url is None:
                await run_in_threadpool(context.jobs.webhooks.end, job_id, None)
            elif self._per_owner[job.owner] < MAX_CONCURRENT_PER_OWNER:
                failure = await self._deliver(context, job)
                await run_in_threadpool(_note, context, job_id, failure)
            else:
                await run_in_threadpool(context.jobs.webhooks.postpone, job_id, POSTPONE_SECONDS)
        except RedisError as error:
            log.warning("webhook of job %s postponed: %s", job_id, error)
        except UnreadableRecord as error:
            with suppress(RedisError):
                await run_in_threadpool(context.jobs.quarantined.add, error)
        except Exception:
            log.exception("unexpected error in the webhook of job %s", job_id)
            with suppress(RedisError):
                await run_in_threadpool(_note, context, job_id, "an internal error")  # it counts as a try
                await run_in_threadpool(context.jobs.counters.failed, "send_webhooks")

    async def _deliver(self, context: GatewayContext, job: Job) -> str | None:
        self._per_owner[job.owner] += 1
        try:
            return await deliver(context.settings, job)
        finally:
            self._per_owner[job.owner] -= 1
            if not self._per_owner[job.owner]:
                del self._per_owner[job.owner]


def _event(context: GatewayContext, job_id: str) -> Job | None:
    """The job as it ended; of one that an earlier release scheduled, as it is."""
    return context.jobs.webhooks.event(job_id) or context.jobs.get(job_id)


def _note(context: GatewayContext, job_id: str, failure: str | None) -> None:
    """Record an attempt, and schedule the next one if it failed and was not the last."""
    webhooks = context.jobs.webhooks
    delay = retry_delay(webhooks.count_attempt(job_id))
    if failure is not None and delay is not None:
        webhooks.postpone(job_id, delay, failure)
        return
    if failure is not None:
        log.warning("webhook of job %s: giving up", job_id, extra={"job_id": job_id})
    webhooks.end(job_id, failure)
