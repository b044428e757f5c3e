"""A thread in the worker's parent: it keeps the job this worker's own, and ends a worker gone silent."""

import logging
import os
import signal
import threading
import time
from typing import Any, cast

from celery.worker import state
from redis import Redis
from redis.exceptions import RedisError

from service.core.jobs.record import State
from service.core.jobs.store import JobStore
from service.core.queue import queue_name
from worker.serving.context import WorkerContext, worker_name

log = logging.getLogger(__name__)
UNACKED_INDEX = "unacked_index"  # kombu's sorted set: delivery tag → time of delivery
SILENCE = 60.0  # seconds with jobs waiting and none started
EXIT_GRACE = 10.0
CANCEL_GRACE = 3.0  # seconds that a job has to stop by itself after it was canceled
# For a Redis that is silent: it is not to stop this thread, nor for long a process that was asked to end.
PATIENCE: Any = {"socket_connect_timeout": 3, "socket_timeout": 10}
LAST_WORDS: Any = {"socket_connect_timeout": 1, "socket_timeout": 1, "retry": None}


class Watchdog(threading.Thread):
    """Every `interval` seconds: renew the running delivery, so that the broker does not hand it to another
    worker; beat in the registry; end the process when it has stopped consuming, so that its supervisor
    starts a fresh one.

    A thread of its own, since what it guards against is a consumer loop that stands still.
    """

    def __init__(self, context: WorkerContext, interval: float | None = None) -> None:
        super().__init__(daemon=True, name="liveness")
        self.context = context
        self.interval = interval or context.settings.visibility_timeout_seconds / 4
        self.model = context.settings.model_name
        self.worker = worker_name()
        self.loaded = False
        self.broker: Redis | None = None
        url = context.settings.broker_url
        if url is None:
            self.broker = context.redis
        elif url.get_secret_value().startswith("redis"):
            self.broker = Redis.from_url(url.get_secret_value(), decode_responses=True, **PATIENCE)
        self.seen: dict[str, float] = {}  # job id → when this thread first saw it here
        self.canceled: dict[str, float] = {}  # job id → when this thread first saw that it was
        self.last_busy = time.monotonic()
        self.stopped = threading.Event()

    def run(self) -> None:
        beaten = 0.0
        while not self.stopped.wait(min(1.0, self.interval)):
            try:
                self.stop_canceled()
                if time.monotonic() - beaten >= self.interval:
                    self.beat()
                    beaten = time.monotonic()
            except RedisError as error:
                log.warning("Redis does not answer the worker: %s", error)

    def beat(self) -> None:
        requests = _requests()
        now = time.monotonic()
        self.seen = {r.id: self.seen.get(r.id, now) for r in requests}
        # The first beat is that of the child, once it has loaded the model.
        self.loaded = self.loaded or self.context.registry.is_alive(self.worker, self.model)
        if self.loaded:
            self.context.registry.beat(self.worker, self.model, 4 * self.interval)
        deadline = self.context.settings.job_deadline_seconds + 60
        for request in requests:
            if now - self.seen[request.id] < deadline:
                self._renew(request)
            else:
                self._exit(f"job {request.id} is {deadline} s old and was not stopped")
        if requests or not self._waiting():
            self.last_busy = now
        elif now - self.last_busy > SILENCE:
            self._exit(f"jobs wait and none was started for {SILENCE:.0f} s")

    def stop_canceled(self) -> None:
        """Kill the process of a job that was canceled and does not stop by itself: it hangs, or is busy
        with something that cannot be interrupted. The pool starts another one."""
        now = time.monotonic()
        still = {}
        for request in _requests():
            job = self.context.jobs.get(request.id) if request.worker_pid else None
            if job is not None and job.state in (State.CANCELED, State.EXPIRED):
                since = still[request.id] = self.canceled.get(request.id, now)
                if now - since > CANCEL_GRACE and request in _requests():
                    log.warning("job %s was canceled and goes on: its process is killed", request.id)
                    os.kill(request.worker_pid, signal.SIGKILL)
        self.canceled = still

    def give_back(self) -> None:
        """Note that the running attempts end with this process, which was asked to stop: a job is not to
        fail for that. To be called before the pool is stopped."""
        url = self.context.settings.redis_url.get_secret_value()
        try:
            with Redis.from_url(url, decode_responses=True, **LAST_WORDS) as redis:
                jobs = JobStore(redis)
                leased = cast(list[str], redis.zrange(jobs.leased, 0, -1))
                # Of those that are only to be stored, ours are the ones whose tasks returned here.
                dropped = [job_id for job_id in leased if job_id in state.successful_requests]
                for job_id in [request.id for request in _requests()] + dropped:
                    jobs.give_back(job_id)
                for job_id in dropped:
                    redis.zadd(jobs.leased, {job_id: 0.0}, xx=True)  # to be queued anew at once
        except RedisError as error:
            log.warning("Redis does not answer; what runs here counts as lost with its worker: %s", error)

    def _renew(self, request: Any) -> None:
        if self.broker is not None:
            self.broker.zadd(UNACKED_INDEX, {request.message.delivery_tag: time.time()}, xx=True)

    def _waiting(self) -> bool:
        return self.broker is not None and self.broker.llen(queue_name(self.model)) > 0

    def _exit(self, why: str) -> None:
        log.critical("the worker ends itself: %s", why)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(EXIT_GRACE)
        os._exit(70)

    def stop(self) -> None:
        self.stopped.set()
        try:
            self.context.registry.leave(self.worker, self.model)
        except RedisError:
            log.warning("Redis does not answer; the registry forgets this worker by itself")


def _requests() -> list[Any]:
    """The deliveries that this worker holds. The set may change while it is read; then read again."""
    while True:
        try:
            return list(state.reserved_requests)
        except RuntimeError:
            continue
