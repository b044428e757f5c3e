"""Dead letters: jobs that failed for reasons of the service, for an operator to look at and submit again.

They are records like those of all jobs, and are kept as long, with their input.
"""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime

from service.core.jobs.record import Job, Progress, State, new_id
from service.core.jobs.records import KEPT_AFTER_EXPIRY
from service.core.jobs.store import JobStore
from service.core.object_store import ObjectStore

CODES = {"deadline_exceeded", "internal_error", "out_of_memory", "storage_unavailable", "worker_lost"}
MEDIA_TYPE = "application/octet-stream"


class NotRetried(Exception):  # noqa: N818  # an expected refusal
    """A job that cannot be submitted again; the message says why."""


def _is_dead_letter(job: Job) -> bool:
    return job.state is State.FAILED and job.error is not None and job.error.code in CODES


def _retry_key(jobs: JobStore, job_id: str) -> str:
    return f"{jobs.prefix}:retry:{job_id}"  # holds the id of the job that replaces it


def dead_letters(jobs: JobStore) -> Iterator[Job]:
    """Those that have not been submitted again, in no order."""
    for job in jobs.all():
        if _is_dead_letter(job) and not jobs.redis.exists(_retry_key(jobs, job.id)):
            yield job


def retry(jobs: JobStore, store: ObjectStore, job_id: str) -> Job:
    """Submit a dead letter again, as a new job of the same owner; raises NotRetried.

    A job ends once, so the failed one stays as it is. Nothing is held against limits of the owner.
    """
    job = jobs.get(job_id)
    if job is None or not _is_dead_letter(job):
        found = "unknown" if job is None else f"{job.state}, {job.error.code}" if job.error else job.state
        raise NotRetried(f"{job_id} is no dead letter ({found})")
    now = datetime.now(UTC)
    again = job.with_(
        id=new_id(),
        version=1,
        state=State.QUEUED,
        progress=Progress(stage="queued", percent=0),
        attempt=0,
        given_back=[],
        created_at=now,
        started_at=None,
        ended_at=None,
        expires_at=now + (job.expires_at - job.created_at),
        provenance=None,
        error=None,
    )
    key, gone = _retry_key(jobs, job_id), job.expires_at + KEPT_AFTER_EXPIRY
    if not jobs.redis.set(key, again.id, nx=True, exat=gone):
        raise NotRetried(f"{job_id} has been submitted again as {jobs.redis.get(key)!s}")
    try:
        _copy_input(store, job, again)
        again = jobs.create(again)
    except BaseException:
        jobs.redis.delete(key)
        raise
    jobs.enqueue_again(again)
    return again


def _copy_input(store: ObjectStore, job: Job, again: Job) -> None:
    with tempfile.TemporaryFile() as file:
        try:
            digest = store.get(job.input_key, file)
        except store.client.exceptions.NoSuchKey:
            raise NotRetried(f"the input of {job.id} is missing") from None
        if digest != job.input.sha256:
            raise NotRetried(f"the input of {job.id} has been altered")
        file.seek(0)
        store.put(again.input_key, file, MEDIA_TYPE, again.expires_at)
