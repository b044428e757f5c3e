"""Data that Redis has lost, with its volume or its files: noticed, and put right as far as possible."""

import logging
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from service.api.background.loops import alone, is_due
from service.api.background.restoring import restore_record
from service.api.dependencies import GatewayContext
from service.core.jobs.options import RETENTION_LIMIT
from service.core.jobs.stored import UnreadableRecord

log = logging.getLogger(__name__)
SWEEP_SECONDS = 3600  # between two searches for files without a record
LONGEST_UPLOAD = 86_400  # seconds that an upload may live
GRACE = timedelta(minutes=5)  # for clocks that differ
SEARCH_SECONDS = 30  # between two searches for jobs without a message
OVERDUE_SECONDS = 60  # age at which a waiting job is looked for in the queue
BATCH = 200


class LossDetector:
    """Notices that Redis has been emptied since this process first saw it, by a mark that it keeps there."""

    def __init__(self) -> None:
        self._known: str | None = None

    def check(self, context: GatewayContext) -> None:
        key, mark = "oflow:mark", uuid4().hex
        is_new = context.redis.set(key, mark, nx=True)
        found = str(context.redis.get(key))
        if self._known not in (None, found):
            log.critical("Redis has lost its data: create new API keys, and submit open jobs again")
            if is_new:  # one gateway counts
                context.jobs.counters.data_lost()
        self._known = found


def delete_orphans(context: GatewayContext) -> None:
    """Delete files that no record names and whose time is over, once an hour on one gateway.

    Records of finished jobs are restored before. Redis that has lost its data has lost the hour as well. The
    time of a job's files is stored with its input; without that, the longest retention counts.
    """
    if not is_due(context, "sweep", SWEEP_SECONDS):
        return
    now = datetime.now(UTC)
    longest = timedelta(seconds=max(RETENTION_LIMIT, context.settings.retention_seconds))
    for page in context.store.pages("jobs/"):
        for job_id in _without(context, page, context.jobs.key("")):
            with alone(context, "delete_orphans", job_id):
                if restore_record(context, job_id):
                    continue
                over = context.store.time_over(f"jobs/{job_id}/", "input", longest)
                if over is not None and over + GRACE < now:
                    context.store.delete_all(f"jobs/{job_id}/")
                    log.warning("deleted the files of job %s, which has no record", job_id)
    for page in context.store.pages("uploads/"):
        for upload_id in _without(context, page, context.uploads.record_key("")):
            with alone(context, "delete_orphans", upload_id):
                over = context.store.time_over(f"uploads/{upload_id}", "", timedelta(seconds=LONGEST_UPLOAD))
                if over is not None and over + GRACE < now:
                    context.store.delete(f"uploads/{upload_id}")


def _without(context: GatewayContext, names: list[str], prefix: str) -> list[str]:
    """The names without a key of that prefix in Redis."""
    with context.redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.exists(prefix + name)
        return [name for name, found in zip(names, pipe.execute(), strict=True) if not found]


def drop_messages_of_ended_jobs(context: GatewayContext) -> None:
    """Remove messages of jobs that were canceled while they waited, every half a minute on one gateway."""
    if not is_due(context, "drop-messages", SEARCH_SECONDS):
        return

    def has_ended(job_id: str) -> bool:
        try:
            job = context.jobs.get(job_id)
        except UnreadableRecord:
            return False  # whoever takes the message sets it aside
        return job is None or not job.state.open

    for model in context.registry.models():
        context.queue.drop(model, has_ended)


class MessageSearch:
    """Queues waiting jobs again whose message is lost, on its way or with the data of a separate broker."""

    def __init__(self) -> None:
        self._missing: set[str] = set()  # in the last round: a message may be between two places for a moment

    def run(self, context: GatewayContext) -> None:
        if not is_due(context, "search", SEARCH_SECONDS):
            return
        missing: set[str] = set()
        for model in context.registry.models():
            waiting = context.jobs.overdue(model, time.time() - OVERDUE_SECONDS, BATCH)
            for job_id in context.queue.without_message(model, waiting):
                missing.add(job_id)
                if job_id in self._missing:
                    with alone(context, "queue_jobs_without_message", job_id):
                        job = context.jobs.get(job_id)
                        if job is not None and job.state.open:
                            context.jobs.enqueue_again(job)
        self._missing = missing
