"""`worker serve`: run jobs from the queue of one model until stopped."""

import os
import signal
from types import FrameType
from typing import Any

# Must be set before billiard is imported: on SIGTERM, return the running job to the queue immediately.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")


BAD_CONFIGURATION = 78  # EX_CONFIG of sysexits.h


def serve() -> int:
    """Run the worker and return its exit code, 78 if the model cannot be loaded.

    Settings are read from the environment.
    """
    from celery.signals import worker_ready, worker_shutting_down

    from service.core.clock import require_clock
    from service.core.logs import configure_logs
    from service.core.queue import queue_name
    from service.core.redis_version import require_version
    from worker.serving.app import MODEL_FAILED, SPOOL, app, settings
    from worker.serving.context import WorkerContext
    from worker.serving.draining import Drain
    from worker.serving.spool import open_spool
    from worker.serving.storing import Storing
    from worker.serving.watchdog import Watchdog

    configure_logs(settings)
    require_version(settings)
    require_clock(settings)
    spool = open_spool()
    os.environ[SPOOL] = str(spool.folder)
    context = WorkerContext(settings)
    storing = Storing(context, spool)
    watchdog = Watchdog(context, storing)

    def ready(**_: object) -> None:
        watchdog.start()
        stop = signal.getsignal(signal.SIGTERM)  # Celery's handler

        def give_back_and_stop(number: int, frame: FrameType | None) -> None:
            if drain.begin():
                return
            watchdog.give_back()
            if callable(stop):
                stop(number, frame)

        signal.signal(signal.SIGTERM, give_back_and_stop)

    worker_ready.connect(ready, weak=False)
    worker_shutting_down.connect(lambda **_: watchdog.stop(), weak=False)
    worker: Any = app.Worker(
        queues=[queue_name(settings.model_name)],
        loglevel="warning",  # until a child has configured its own logging
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    worker.max_concurrency = 1  # Celery would ask the pool instead, which is gone once the worker stops
    drain = Drain(
        settings.drain_seconds,
        watchdog.is_busy,
        lambda: worker.consumer.call_soon(worker.consumer.cancel_task_queue, queue_name(settings.model_name)),
    )
    failed = False

    def end(*_: object) -> None:
        nonlocal failed
        failed = True
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(MODEL_FAILED, end)
    try:
        worker.start()
    finally:
        storing.stop()
    return BAD_CONFIGURATION if failed else int(worker.exitcode or 0)
