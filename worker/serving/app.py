"""The Celery app of a worker: one process that holds one loaded model and runs one job at a time.

The parent process only watches; it never imports torch. The child loads the model when it starts.
"""

import logging
import os
import signal
import time
from typing import Any

from celery import Task
from celery.exceptions import Reject, TimeLimitExceeded
from celery.signals import setup_logging, worker_process_init

from service.core.logs import configure_logs
from service.core.queue import TASK, celery_app
from service.core.settings import get_settings
from worker.serving.context import WorkerContext, worker_name

log = logging.getLogger(__name__)
MODEL_FAILED = signal.SIGUSR2  # from the child to its parent
PARENT_STOPS = 5  # seconds it takes at most
HARD_LIMIT_GRACE = 15  # seconds between asking a late job to stop and killing its process

settings = get_settings()
app = celery_app(settings)
app.conf.update(
    task_soft_time_limit=settings.job_deadline_seconds,
    task_time_limit=settings.job_deadline_seconds + HARD_LIMIT_GRACE,
)
_runner: Any = None  # worker.serving.runner.Runner, in the child


@setup_logging.connect(weak=False)
def log_as_the_service_does(**_: object) -> None:
    """In the parent and in the child; Celery leaves the logs alone then."""
    configure_logs(settings)


@worker_process_init.connect(weak=False)
def load_model(**_: object) -> None:
    """Load the model once, for all jobs of this process; without a model the worker has to end."""
    global _runner
    from worker.serving.runner import Runner  # torch comes in here, in the child

    context = WorkerContext(settings)
    try:
        _runner = Runner(context)
        # The watchdog in the parent goes on from this first beat.
        parent = worker_name(os.getppid())
        context.registry.beat(parent, settings.model_name, settings.visibility_timeout_seconds)
    except Exception as error:
        log.critical("the model cannot be loaded: %s", error, exc_info=not hasattr(error, "code"))
        os.kill(os.getppid(), MODEL_FAILED)
        time.sleep(
            PARENT_STOPS
        )  # ending first, we would be replaced, and the replacement cut off in its start
        raise SystemExit(1) from None


class ReconstructTask(Task[..., None]):
    def on_failure(self, exc: Exception, task_id: str, *_: object) -> None:
        """Called in the parent when it had to kill a job that outlived its deadline."""
        if isinstance(exc, TimeLimitExceeded):
            context = WorkerContext(settings)
            job = context.jobs.get(task_id)
            if job is not None:
                context.jobs.fail(job, context.deadline_error())


@app.task(name=TASK, base=ReconstructTask, bind=True)
def reconstruct(_task: ReconstructTask, job_id: str) -> None:
    from redis.exceptions import RedisError

    try:
        _runner.begin(job_id)
    except RedisError as error:
        # The record could not be written: the queue keeps the job, and another attempt ends it.
        log.error("job %s goes back to the queue: %s", job_id, error)
        raise Reject(str(error), requeue=True) from error
