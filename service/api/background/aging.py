"""Jobs that have waited long come forward, so that a key with many jobs waits for a bounded time."""

import time

from service.api.background.loops import alone, is_due
from service.api.dependencies import GatewayContext
from service.core.jobs.record import Job, State

AGED_SECONDS = 60.0  # for which a job has waited
ROUND_SECONDS = 5  # between two rounds, of all gateways together


def bring_forward(context: GatewayContext) -> None:
    """Give the first priority to the oldest job of each owner that has waited for a minute.

    It joins the end of that line, one job of an owner at a time, so that all owners with waiting jobs take
    turns. A job that has lost its worker goes to the front: it has had its turn.
    """
    if not is_due(context, "bring-forward", ROUND_SECONDS):
        return
    for model in context.registry.models():
        first, *later = context.queue.job_ids(model)
        if any(later):
            _bring_forward(context, first, [job_id for ids in later for job_id in ids])


def _bring_forward(context: GatewayContext, first: list[str], later: list[str]) -> None:
    served = {job.owner for job in context.jobs.read(first)}
    aged = time.time() - AGED_SECONDS
    for job in sorted(context.jobs.read(later), key=lambda job: job.created_at):
        with alone(context, "bring_forward", job.id):
            if job.state is State.RUNNING:
                context.queue.bring_forward(job, to_front=True)
            elif _may_go(job, served, aged):
                served.add(job.owner)
                # Before the record: a round that is cut off here is repeated.
                context.queue.bring_forward(job)
                context.jobs.bring_forward(job.id)


def _may_go(job: Job, served: set[str], aged: float) -> bool:
    return job.state is State.QUEUED and job.owner not in served and job.created_at.timestamp() < aged
