"""What a gateway does when nobody asks: expired files go, webhooks are sent, lost jobs are queued.

Every gateway of a service does it; what two of them do at once is done once, or does no harm.
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
Round = Callable[[GatewayContext], Awaitable[None]]
EVERY = 1.0  # seconds
AT_ONCE = 50  # of each kind in one round
AGAIN = 10.0  # seconds after which a job that could not be queued is tried again


async def run_background_tasks(context: GatewayContext) -> None:
    """Run until canceled."""
    rounds: list[Round] = [WebhookDelivery().send_due]
    in_threads = renew_reservations, expire_jobs, expire_uploads, queue_lost_jobs, queue_dropped_jobs
    rounds += map(_in_thread, in_threads)
    await asyncio.gather(*(_forever(work, context) for work in rounds))


def _in_thread(work: Callable[[GatewayContext], None]) -> Round:
    return lambda context: run_in_threadpool(work, context)


async def _forever(work: Round, context: GatewayContext) -> None:
    while True:
        try:
            await work(context)
        except (RedisError, OperationalError, BotoCoreError, ClientError) as error:
            log.warning("housekeeping is put off: %s", error)
        except Exception:
            log.exception("unforeseen error in housekeeping")
        await asyncio.sleep(EVERY)


def renew_reservations(context: GatewayContext) -> None:
    """Idempotency keys of requests that are worked on stay reserved."""
    context.idempotency.renew()


def queue_lost_jobs(context: GatewayContext) -> None:
    """Queue jobs that were recorded by a gateway which died before it could queue them."""
    for job_id in due(context.redis, context.jobs.unsent, AGAIN, AT_ONCE):
        job = context.jobs.get(job_id)
        if job is not None and job.state is State.QUEUED:
            log.warning("job %s had not come to the queue", job.id, extra={"job_id": job.id})
            context.queue.push(job)
        context.jobs.sent(job_id)


def queue_dropped_jobs(context: GatewayContext) -> None:
    """Queue jobs whose worker died when it had only to write and store their files."""
    for job_id in due(context.redis, context.jobs.leased, AGAIN, AT_ONCE):
        job = context.jobs.get(job_id)
        if job is None or job.state is not State.RUNNING:
            context.redis.zrem(context.jobs.leased, job_id)
            continue
        log.warning("job %s was dropped by its worker", job.id, extra={"job_id": job.id})
        context.queue.push(job)
        context.jobs.requeued(job)
