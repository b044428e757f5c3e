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

from service.core.jobs.stored import UnreadableRecord
from service.core.logs import configure_logs
from service.core.settings import get_settings
from service.core.telemetry import configure_telemetry
from worker.serving.context import WorkerContext
from worker.serving.failures import errors_recorded
from worker.serving.finisher import Finisher
from worker.serving.memory import limit_memory
from worker.serving.spool import Entry, Spool

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
    context, spool = WorkerContext(settings), Spool(Path(sys.argv[1]))
    while True:
        entry = spool.take()
        if entry is None:
            time.sleep(POLL_SECONDS)
            continue
        try:
            store(context, spool, entry)
        except RedisError as error:
            log.error("job %s was not finished and will be re-enqueued: %s", entry.job_id, error)
        spool.discard(entry)


def store(context: WorkerContext, spool: Spool, entry: Entry) -> None:
    """Store the files of a reconstruction, which may be too large to be read again."""
    try:
        job = context.jobs.get(entry.job_id)
    except UnreadableRecord as error:
        context.jobs.quarantined.add(error)
        return
    if job is not None and job.attempt == entry.attempt:
        with errors_recorded(context, job):
            limit_memory(context.settings.job_memory_bytes)
            Finisher(context).finish(spool.load(entry))


if __name__ == "__main__":
    main()
