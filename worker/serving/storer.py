"""`python -m worker.serving.storer FOLDER`: stores the files of the reconstructions in a spool.

A process of its own, started by the worker's parent: canceling or killing the job that is being computed does
not reach it. It loads no model.
"""

import logging
import os
import sys
import threading
import time
from pathlib import Path

from redis.exceptions import RedisError

from service.core.logs import configure_logs
from service.core.settings import get_settings
from service.core.telemetry import configure_telemetry
from worker.serving.context import WorkerContext
from worker.serving.finisher import Finisher
from worker.serving.memory import limit_memory
from worker.serving.spool import Spool

log = logging.getLogger(__name__)
POLL_SECONDS = 0.02


def _exit_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(0)  # nobody renews the leases of its jobs any more


def main() -> None:
    parent = os.getppid()
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    settings = get_settings()
    configure_logs(settings)
    configure_telemetry("worker")
    limit_memory(settings.job_memory_bytes)
    spool, finisher = Spool(Path(sys.argv[1])), Finisher(WorkerContext(settings))
    while True:
        taken = spool.take()
        if taken is None:
            time.sleep(POLL_SECONDS)
            continue
        entry, made = taken
        try:
            finisher.finish(made)
        except RedisError as error:
            log.error("job %s was not finished and will be re-enqueued: %s", entry.job_id, error)
        spool.discard(entry)


if __name__ == "__main__":
    main()
