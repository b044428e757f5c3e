"""The last steps of a job, done by a thread while the next job begins.

The queue regards a job as done once its task has returned. What holds it from then on is a lease in Redis:
where nobody renews it, since this process is gone, a gateway queues the job anew.
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
    """One job at a time: whoever hands over the next one waits for the last. `lease`: seconds."""

    def __init__(self, jobs: JobStore, lease: float) -> None:
        self.jobs = jobs
        self.lease = lease
        self._pool = ThreadPoolExecutor(1, "finalizer")
        self._last: Future[None] | None = None

    def hand_over(self, job: Job, work: Callable[[], None]) -> None:
        """Have `work` done, which ends the job. Raises Canceled where the attempt is not the current one."""
        self.wait()
        if not self.jobs.lease(job, self.lease):
            raise Canceled("before its files were written")
        context = contextvars.copy_context()  # the trace
        self._last = self._pool.submit(context.run, self._finish, job, work)

    def wait(self) -> None:
        """Until the job that was handed over last has ended."""
        if self._last is not None:
            self._last.result()

    def _finish(self, job: Job, work: Callable[[], None]) -> None:
        try:
            with self._renewed(job):
                work()
        except RedisError as error:
            log.error("job %s is left to be queued anew: %s", job.id, error)
        except Exception:
            log.exception("job %s is left to be queued anew", job.id)

    @contextmanager
    def _renewed(self, job: Job) -> Iterator[None]:
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self.lease / 4):
                try:
                    if not self.jobs.lease(job, self.lease):
                        return
                except RedisError as error:
                    log.warning("Redis does not answer the worker: %s", error)

        thread = threading.Thread(target=renew, name=f"lease of {job.id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
