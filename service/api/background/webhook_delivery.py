"""When webhooks are sent, and sent again. The schedule is in Redis, so that no restart forgets one."""

import asyncio
import logging
import random
import time
from collections import Counter

from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from service.api.background.schedule import due
from service.api.dependencies import GatewayContext
from service.api.webhooks import SECONDS, deliver
from service.core.jobs.record import Job

log = logging.getLogger(__name__)
ATTEMPTS = 8  # over about an hour and a half
FIRST_PAUSE, FACTOR = 5.0, 3.0  # 5 s, 15 s, 45 s, … after the first, second, third attempt
LEASE = 2.0 * SECONDS  # should we die amid an attempt, another gateway takes it up after this
AT_ONCE = 50
AT_ONCE_OF_ONE = 10  # caller; what is beyond waits behind what is due of others
PUT_OFF = 1.0  # seconds


def pause_after(attempt: int) -> float | None:
    """Seconds until the next attempt, a little at random; None where that was the last."""
    if attempt >= ATTEMPTS:
        return None
    return FIRST_PAUSE * FACTOR ** (attempt - 1) * random.uniform(1.0, 1.2)  # noqa: S311 - no secret  # nosec B311


class WebhookDelivery:
    """Sends what is due; a slow receiver holds up nobody else, nor do many of one caller."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._of: Counter[str] = Counter()  # owner → attempts that run

    async def send_due(self, context: GatewayContext) -> None:
        room = AT_ONCE - len(self._running)
        if context.settings.webhook_secret is None or room <= 0:
            return
        for job_id in await run_in_threadpool(due, context.redis, context.jobs.webhooks, LEASE, room):
            task = asyncio.create_task(self._send(context, job_id))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _send(self, context: GatewayContext, job_id: str) -> None:
        try:
            job = await run_in_threadpool(context.jobs.get, job_id)
            if job is None or job.options.webhook_url is None:
                taken = True
            elif self._of[job.owner] < AT_ONCE_OF_ONE:
                taken = await self._deliver(context, job)
            else:
                later = {job_id: time.time() + PUT_OFF}
                await run_in_threadpool(context.redis.zadd, context.jobs.webhooks, later, xx=True)
                return
            await run_in_threadpool(_note, context, job_id, taken=taken)
        except RedisError as error:
            log.warning("webhook of job %s is put off: %s", job_id, error)
        except Exception:
            log.exception("unforeseen error in the webhook of job %s", job_id)

    async def _deliver(self, context: GatewayContext, job: Job) -> bool:
        self._of[job.owner] += 1
        try:
            return await deliver(context.settings, job)
        finally:
            self._of[job.owner] -= 1
            if not self._of[job.owner]:
                del self._of[job.owner]


def _note(context: GatewayContext, job_id: str, *, taken: bool) -> None:
    schedule = context.jobs.webhooks
    attempts = f"{schedule}:attempts"
    pause = None if taken else pause_after(context.redis.hincrby(attempts, job_id, 1))
    if pause is not None:
        context.redis.zadd(schedule, {job_id: time.time() + pause})
        return
    if not taken:
        log.warning("webhook of job %s: given up", job_id, extra={"job_id": job_id})
    context.redis.zrem(schedule, job_id)
    context.redis.hdel(attempts, job_id)
