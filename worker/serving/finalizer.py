"""Runs the last steps of a job in a thread while the next job starts.

The queue considers a job done once its task returns. From then on it is protected by a lease in Redis: if
this process dies and the lease runs out, a gateway re-enqueues the job.
"""

import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from redis.exceptions import RedisError

from model.errors import Canceled
from service.core.jobs.record import Job
from service.core.jobs.store import JobStore

log = logging.getLogger(__name__)


class Finalizer:
    """Finishes one job at a time; handing over the next one waits for the previous. `lease` is in seconds."""

    def __init__(self, jobs: JobStore, lease: float) -> None:
        self.jobs = jobs
        self.lease = lease
        self._pool = ThreadPoolExecutor(1, "finalizer")
        self._last: Future[None] | None = None

    def hand_over(self, job: Job, work: Callable[[], None]) -> None:
        """Run `work`, which ends the job, in the thread. Raises Canceled if the attempt is not current."""
        self.wait()
        if not self.jobs.lease(job, self.lease):
            raise Canceled("before its files were written")
        context = contextvars.copy_context()  # carries the trace into the thread
        self._last = self._pool.submit(context.run, self._finish, job, work)

    def wait(self) -> None:
        """Wait until the job handed over last has ended."""
        if self._last is not None:
            self._last.result()

    def _finish(self, job: Job, work: Callable[[], None]) -> None:
        try:
            with self._lease_renewed(job):
                work()
        except RedisError as error:
            log.error("job %s was not finished and will be re-enqueued: %s", job.id, error)
        except Exception:
            log.exception("job %s was not finished and will be re-enqueued", job.id)

    @contextmanager
    def _lease_renewed(self, job: Job) -> Iterator[None]:
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self.lease / 4):
                try:
                    if not self.jobs.lease(job, self.lease):
                        return
                except RedisError as error:
                    log.warning("cannot renew the lease of job %s: %s", job.id, error)

        thread = threading.Thread(target=renew, name=f"lease of {job.id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
