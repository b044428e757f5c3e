"""The worker's Celery app: one child process with a loaded model that runs one job at a time.

The parent process only supervises and never imports torch. The child loads the model when it starts.
"""

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Task
from celery.exceptions import Reject
from celery.signals import setup_logging, worker_process_init

from service.core.logs import configure_logs
from service.core.queue import TASK, celery_app
from service.core.settings import get_settings
from service.core.telemetry import configure_telemetry
from worker.serving.context import WorkerContext, worker_name

log = logging.getLogger(__name__)
MODEL_FAILED = signal.SIGUSR2  # sent by the child to its parent
PARENT_STOP_SECONDS = 5  # maximum time the parent takes to stop
SPOOL = "WORKER_SPOOL"  # environment variable by which the parent tells its children the folder

settings = get_settings()
app = celery_app(settings)
_runner: Any = None  # worker.serving.runner.Runner, in the child


@setup_logging.connect(weak=False)
def set_up_logging(**_: object) -> None:
    """Configure logging in parent and child instead of Celery's own setup."""
    configure_logs(settings)


@worker_process_init.connect(weak=False)
def load_model(**_: object) -> None:
    """Load the model once for all jobs of this process. If that fails, the worker exits."""
    global _runner
    from worker.serving.runner import Runner  # imports torch, only in the child
    from worker.serving.spool import Spool

    configure_telemetry("worker")
    context = WorkerContext(settings)
    try:
        spool = Spool(Path(os.environ[SPOOL]))
        _runner = Runner(context, spool)
        spool.announce(_runner.loaded)
        # The watchdog in the parent goes on from this first beat.
        parent = worker_name(os.getppid())
        context.registry.beat(parent, _runner.loaded, settings.visibility_timeout_seconds)
    except Exception as error:
        log.critical("cannot load the model: %s", error, exc_info=not hasattr(error, "code"))
        os.kill(os.getppid(), MODEL_FAILED)
        # If we exit first, the pool starts a replacement and kills it during start-up.
        time.sleep(PARENT_STOP_SECONDS)
        raise SystemExit(1) from None


@app.task(name=TASK, bind=True)
def reconstruct(_task: Task[..., None], job_id: str) -> None:
    from redis.exceptions import RedisError

    try:
        _runner.begin(job_id)
    except RedisError as error:
        # The record could not be written, so return the job to the queue for another attempt.
        log.error("job %s is returned to the queue: %s", job_id, error)
        raise Reject(str(error), requeue=True) from error
