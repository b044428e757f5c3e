"""Files go when their time is up."""

import logging

from service.api.background.schedule import due
from service.api.dependencies import GatewayContext
from service.core.jobs.record import JobError

log = logging.getLogger(__name__)
AT_ONCE = 50
AGAIN = 60.0  # seconds after which a deletion that failed is tried again


def delete_files(context: GatewayContext, job_id: str) -> None:
    """Mark an ended job as expired and delete its files, now."""
    context.jobs.expire(job_id)
    context.store.delete_all(f"jobs/{job_id}/")
    context.redis.zrem(context.jobs.expiry, job_id)


def expire_jobs(context: GatewayContext) -> None:
    """Delete the files of jobs at `expires_at`. A job that has not ended by then is canceled."""
    for job_id in due(context.redis, context.jobs.expiry, AGAIN, AT_ONCE):
        error = JobError(code="expired", message="The job had not ended when its time was up.")
        context.jobs.cancel(job_id, error)
        delete_files(context, job_id)
        log.info("the files of job %s have expired", job_id, extra={"job_id": job_id})


def expire_uploads(context: GatewayContext) -> None:
    """Delete the files of uploads that can no longer be used."""
    for upload_id in due(context.redis, context.uploads.expiry, AGAIN, AT_ONCE):
        context.uploads.delete(upload_id)
