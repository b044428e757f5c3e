"""The parent's view of storing: it starts the process, keeps the leases of its jobs, and bounds its time."""

import logging
import shutil
import subprocess
import sys
import threading
import time

from redis.exceptions import RedisError

from service.core.jobs.record import Job, JobError, State
from service.core.jobs.stored import UnreadableRecord
from worker.serving.context import WorkerContext
from worker.serving.spool import Entry, Spool

log = logging.getLogger(__name__)
STORER = [sys.executable, "-m", "worker.serving.storer"]
CANCEL_GRACE = 3.0  # seconds that the files of a canceled job may still take


class Storing:
    """Supervises the process that stores files. `beat` must be called about once a second."""

    def __init__(self, context: WorkerContext, spool: Spool) -> None:
        self.context = context
        self.spool = spool
        self.process: subprocess.Popen[bytes] | None = None
        self.since: dict[str, float] = {}  # job id → when it was first seen being stored
        self.ended: dict[str, float] = {}  # job id → when it was first seen to have ended
        self._lock = threading.Lock()
        self._stopped = False

    def beat(self) -> None:
        """Restart the process if it has died, renew leases, and stop what has ended or takes too long."""
        with self._lock:
            if not self._stopped:
                self._beat()

    def stop(self) -> list[str]:
        """Stop storing. Returns the ids of the jobs whose files were not stored."""
        with self._lock:
            self._stopped = True
            self._kill()
            left = [entry.job_id for entry in self.spool.entries()]
            shutil.rmtree(self.spool.folder, ignore_errors=True)
        return left

    def _beat(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self._drop_taken()
            self.process = subprocess.Popen([*STORER, str(self.spool.folder)])  # noqa: S603
        now = time.monotonic()
        entries = self.spool.entries()
        self.since = {e.job_id: self.since.get(e.job_id, now) for e in entries if e.taken}
        self.ended = {e.job_id: self.ended[e.job_id] for e in entries if e.job_id in self.ended}
        for entry in entries:
            job = self._current(entry)
            if job is None:
                self._stop(entry, now)
            elif entry.taken and now - self.since[entry.job_id] > self.context.settings.storing_seconds:
                log.warning("the files of job %s take too long, stopping", entry.job_id)
                self.context.jobs.fail(job, self._too_long())
                self._kill()
            else:
                self.context.jobs.lease(job, self.context.settings.visibility_timeout_seconds)

    def _current(self, entry: Entry) -> Job | None:
        try:
            job = self.context.jobs.get(entry.job_id)
        except UnreadableRecord as error:
            self.context.jobs.quarantined.add(error)
            return None
        current = job is not None and job.state is State.RUNNING and job.attempt == entry.attempt
        return job if current else None

    def _stop(self, entry: Entry, now: float) -> None:
        """Discard what is not wanted any more. Between two files the process notices that itself."""
        if not entry.taken:
            self.spool.discard(entry)
        elif now - self.ended.setdefault(entry.job_id, now) > CANCEL_GRACE:
            log.warning("job %s has ended but its files are still being stored, stopping", entry.job_id)
            self._kill()

    def _drop_taken(self) -> None:
        """The process died while it stored these, so they are computed again, which counts as a death."""
        for entry in self.spool.entries():
            if entry.taken:
                self.spool.discard(entry)
                try:
                    self.context.redis.zadd(self.context.jobs.leased, {entry.job_id: 0.0}, xx=True)
                except RedisError as error:
                    log.warning("job %s is queued again once its lease has run out: %s", entry.job_id, error)

    def _kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _too_long(self) -> JobError:
        seconds = self.context.settings.storing_seconds
        message = f"The files were not written and stored within {seconds} s. Try fewer frames or formats."
        return JobError(code="deadline_exceeded", message=message)
