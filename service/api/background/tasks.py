"""Periodic background tasks: delete expired files, send webhooks, re-enqueue lost jobs.

Every gateway runs them; they are either exclusive or idempotent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool

from service.api.background.aging import bring_forward
from service.api.background.loops import alone, repeat
from service.api.background.lost_data import (
    LossDetector,
    MessageSearch,
    delete_orphans,
    drop_messages_of_ended_jobs,
)
from service.api.background.retention import expire_jobs, expire_uploads
from service.api.background.schedule import due
from service.api.background.webhook_delivery import WebhookDelivery
from service.api.dependencies import GatewayContext
from service.core.jobs.record import State

log = logging.getLogger(__name__)
BATCH = 50  # jobs per task and interval
RETRY_SECONDS = 10.0  # delay after a job could not be enqueued


async def run_background_tasks(context: GatewayContext) -> None:
    """Run until canceled."""
    blocking = {
        task.__name__: task
        for task in (
            renew_reservations,
            expire_jobs,
            expire_uploads,
            queue_lost_jobs,
            queue_dropped_jobs,
            delete_orphans,
            drop_messages_of_ended_jobs,
            bring_forward,
        )
    } | {"queue_jobs_without_message": MessageSearch().run, "check_for_losses": LossDetector().check}
    await asyncio.gather(
        repeat("listen", lambda _: context.subscriptions.listen(), context),
        repeat("send_webhooks", WebhookDelivery().send_due, context),
        *(repeat(name, _in_thread(task), context) for name, task in blocking.items()),
    )


def _in_thread(task: Callable[[GatewayContext], None]) -> Callable[[GatewayContext], Awaitable[None]]:
    return lambda context: run_in_threadpool(at_the_right_time, task, context)


def at_the_right_time(task: Callable[[GatewayContext], None], context: GatewayContext) -> None:
    """Run a task, unless the clock is wrong: it would delete files early, or take leases for lapsed."""
    if context.clock.fault() is None:
        task(context)


def renew_reservations(context: GatewayContext) -> None:
    """Keep the idempotency keys of requests in progress reserved."""
    context.idempotency.renew()


def queue_lost_jobs(context: GatewayContext) -> None:
    """Enqueue jobs whose gateway died between recording and enqueueing them."""
    for job_id in due(context.redis, context.jobs.unsent, RETRY_SECONDS, BATCH):
        with alone(context, "queue_lost_jobs", job_id):
            job = context.jobs.get(job_id)
            if job is not None and job.state is State.QUEUED:
                log.warning("job %s was not in the queue, enqueueing it", job.id, extra={"job_id": job.id})
                context.queue.push(job)
            context.jobs.sent(job_id)


def queue_dropped_jobs(context: GatewayContext) -> None:
    """Re-enqueue jobs whose worker died while writing or storing their files."""
    for job_id in due(context.redis, context.jobs.leased, RETRY_SECONDS, BATCH):
        with alone(context, "queue_dropped_jobs", job_id):
            job = context.jobs.get(job_id)
            if job is None or job.state is not State.RUNNING:
                context.redis.zrem(context.jobs.leased, job_id)
                continue
            log.warning("job %s was dropped by its worker, enqueueing it", job.id, extra={"job_id": job.id})
            context.queue.push(job)
            context.jobs.requeued(job)
