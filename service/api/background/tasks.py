"""Periodic background tasks: delete expired files, send webhooks, re-enqueue lost jobs.

Every gateway runs them; they are either exclusive or idempotent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from botocore.exceptions import BotoCoreError, ClientError
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from service.api.background.retention import expire_jobs, expire_uploads
from service.api.background.schedule import due
from service.api.background.webhook_delivery import WebhookDelivery
from service.api.dependencies import GatewayContext
from service.core.jobs.record import State

log = logging.getLogger(__name__)
Task = Callable[[GatewayContext], Awaitable[None]]
INTERVAL = 1.0  # seconds
BATCH = 50  # jobs per task and interval
RETRY_SECONDS = 10.0  # delay after a job could not be enqueued


async def run_background_tasks(context: GatewayContext) -> None:
    """Run until canceled."""
    tasks: list[Task] = [WebhookDelivery().send_due]
    blocking = renew_reservations, expire_jobs, expire_uploads, queue_lost_jobs, queue_dropped_jobs
    tasks += map(_in_thread, blocking)
    await asyncio.gather(*(_repeat(task, context) for task in tasks))


def _in_thread(function: Callable[[GatewayContext], None]) -> Task:
    return lambda context: run_in_threadpool(function, context)


async def _repeat(task: Task, context: GatewayContext) -> None:
    while True:
        try:
            await task(context)
        except (RedisError, OperationalError, BotoCoreError, ClientError) as error:
            log.warning("background task failed, retrying: %s", error)
        except Exception:
            log.exception("unexpected error in a background task")
        await asyncio.sleep(INTERVAL)


def renew_reservations(context: GatewayContext) -> None:
    """Keep the idempotency keys of requests in progress reserved."""
    context.idempotency.renew()


def queue_lost_jobs(context: GatewayContext) -> None:
    """Enqueue jobs whose gateway died between recording and enqueueing them."""
    for job_id in due(context.redis, context.jobs.unsent, RETRY_SECONDS, BATCH):
        job = context.jobs.get(job_id)
        if job is not None and job.state is State.QUEUED:
            log.warning("job %s was not in the queue, enqueueing it", job.id, extra={"job_id": job.id})
            context.queue.push(job)
        context.jobs.sent(job_id)


def queue_dropped_jobs(context: GatewayContext) -> None:
    """Re-enqueue jobs whose worker died while writing or storing their files."""
    for job_id in due(context.redis, context.jobs.leased, RETRY_SECONDS, BATCH):
        job = context.jobs.get(job_id)
        if job is None or job.state is not State.RUNNING:
            context.redis.zrem(context.jobs.leased, job_id)
            continue
        log.warning("job %s was dropped by its worker, enqueueing it", job.id, extra={"job_id": job.id})
        context.queue.push(job)
        context.jobs.requeued(job)
