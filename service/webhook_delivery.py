"""When webhooks are sent, and sent again. The schedule is in Redis, so that no restart forgets one."""

import asyncio
import logging
import random
import time

from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from service.deps import Parts
from service.schedule import due
from service.webhooks import SECONDS, deliver

log = logging.getLogger(__name__)
ATTEMPTS = 8  # over about an hour and a half
FIRST_PAUSE, FACTOR = 5.0, 3.0  # 5 s, 15 s, 45 s, … after the first, second, third attempt
LEASE = 2.0 * SECONDS  # should we die amid an attempt, another gateway takes it up after this
AT_ONCE = 50


def pause_after(attempt: int) -> float | None:
    """Seconds until the next attempt, a little at random; None where that was the last."""
    if attempt >= ATTEMPTS:
        return None
    return FIRST_PAUSE * FACTOR ** (attempt - 1) * random.uniform(1.0, 1.2)  # noqa: S311 - no secret  # nosec B311


class WebhookDelivery:
    """Sends what is due; a slow receiver holds up nobody else."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    async def send_due(self, parts: Parts) -> None:
        room = AT_ONCE - len(self._running)
        if parts.settings.webhook_secret is None or room <= 0:
            return
        for job_id in await run_in_threadpool(due, parts.redis, parts.jobs.webhooks, LEASE, room):
            task = asyncio.create_task(_send(parts, job_id))
            self._running.add(task)
            task.add_done_callback(self._running.discard)


async def _send(parts: Parts, job_id: str) -> None:
    try:
        job = await run_in_threadpool(parts.jobs.get, job_id)
        taken = job is None or job.options.webhook_url is None or await deliver(parts.settings, job)
        await run_in_threadpool(_note, parts, job_id, taken=taken)
    except RedisError as error:
        log.warning("webhook of job %s is put off: %s", job_id, error)
    except Exception:
        log.exception("unforeseen error in the webhook of job %s", job_id)


def _note(parts: Parts, job_id: str, *, taken: bool) -> None:
    schedule = parts.jobs.webhooks
    attempts = f"{schedule}:attempts"
    pause = None if taken else pause_after(parts.redis.hincrby(attempts, job_id, 1))
    if pause is not None:
        parts.redis.zadd(schedule, {job_id: time.time() + pause})
        return
    if not taken:
        log.warning("webhook of job %s: given up", job_id, extra={"job_id": job_id})
    parts.redis.zrem(schedule, job_id)
    parts.redis.hdel(attempts, job_id)
