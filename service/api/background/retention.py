"""Deletion of expired files."""

import logging
from contextlib import suppress

from service.api.background.loops import alone
from service.api.background.schedule import due
from service.api.dependencies import GatewayContext
from service.core.jobs.record import JobError
from service.core.jobs.stored import UnreadableRecord

log = logging.getLogger(__name__)
BATCH = 50
RETRY_SECONDS = 60.0  # delay after a failed deletion


def delete_files(context: GatewayContext, job_id: str) -> None:
    """Mark an ended job as expired and delete its files, also if its record cannot be read."""
    try:
        context.jobs.expire(job_id)
    except UnreadableRecord as error:
        context.jobs.quarantined.add(error)
    context.store.delete_all(f"jobs/{job_id}/")
    context.redis.zrem(context.jobs.expiry, job_id)


def expire_jobs(context: GatewayContext) -> None:
    """Delete the files of jobs past `expires_at`, canceling those that are still open."""
    for job_id in due(context.redis, context.jobs.expiry, RETRY_SECONDS, BATCH):
        with alone(context, "expire_jobs", job_id):
            _cancel_if_open(context, job_id)
            delete_files(context, job_id)
            log.info("job %s expired, files deleted", job_id, extra={"job_id": job_id})


def _cancel_if_open(context: GatewayContext, job_id: str) -> None:
    error = JobError(code="expired", message="The job expired before it finished.")
    with suppress(UnreadableRecord):  # `delete_files` reports it
        context.jobs.cancel(job_id, error)


def expire_uploads(context: GatewayContext) -> None:
    """Delete the files of expired uploads."""
    for upload_id in due(context.redis, context.uploads.expiry, RETRY_SECONDS, BATCH):
        with alone(context, "expire_uploads", upload_id):
            context.uploads.delete(upload_id)
