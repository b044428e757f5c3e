"""Files go when their time is up."""

import logging

from service.deps import Parts
from service.jobs import JobError
from service.schedule import due

log = logging.getLogger(__name__)
AT_ONCE = 50
AGAIN = 60.0  # seconds after which a deletion that failed is tried again


def delete_files(parts: Parts, job_id: str) -> None:
    """Mark an ended job as expired and delete its files, now."""
    parts.jobs.expire(job_id)
    parts.store.delete_all(f"jobs/{job_id}/")
    parts.redis.zrem(parts.jobs.expiry, job_id)


def expire_jobs(parts: Parts) -> None:
    """Delete the files of jobs at `expires_at`. A job that has not ended by then is canceled."""
    for job_id in due(parts.redis, parts.jobs.expiry, AGAIN, AT_ONCE):
        error = JobError(code="expired", message="The job had not ended when its time was up.")
        parts.jobs.cancel(job_id, error)
        delete_files(parts, job_id)
        log.info("the files of job %s have expired", job_id, extra={"job_id": job_id})


def expire_uploads(parts: Parts) -> None:
    """Delete the files of uploads that can no longer be used."""
    for upload_id in due(parts.redis, parts.uploads.expiry, AGAIN, AT_ONCE):
        parts.uploads.delete(upload_id)
