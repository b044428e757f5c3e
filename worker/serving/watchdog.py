"""A thread in the worker's parent process that renews the running delivery and stops what is stuck."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from celery.worker import state
from redis import Redis
from redis.exceptions import RedisError

from service.core.clock import clock_fault
from service.core.jobs.record import Job, State
from service.core.jobs.store import JobStore
from service.core.jobs.stored import UnreadableRecord
from service.core.queue import queue_keys
from worker.serving.context import WorkerContext, worker_name
from worker.serving.storing import Storing

log = logging.getLogger(__name__)
UNACKED_INDEX = "unacked_index"  # kombu's sorted set: delivery tag → time of delivery
IDLE_SECONDS = 60.0  # exit if jobs have been waiting for this long and none was started
EXIT_GRACE = 10.0
CANCEL_GRACE = 3.0  # seconds a canceled job has to stop on its own
DEADLINE_GRACE = 15.0  # the same for one past its deadline
# An unresponsive Redis must not block this thread, nor delay the shutdown of the process.
TIMEOUTS: Any = {"socket_connect_timeout": 3, "socket_timeout": 10}
SHUTDOWN_TIMEOUTS: Any = {"socket_connect_timeout": 1, "socket_timeout": 1, "retry": None}


class Watchdog(threading.Thread):
    """Every `interval` seconds, renews the running delivery so that the broker does not redeliver it, sends a
    heartbeat to the registry, and exits if the worker has stopped consuming, so that it gets restarted. Every
    second, kills the process of a job that has been canceled or is past its deadline and does not stop.

    It runs in its own thread, as it must keep working when the consumer loop is stuck.
    """

    def __init__(self, context: WorkerContext, storing: Storing, interval: float | None = None) -> None:
        super().__init__(daemon=True, name="watchdog")
        self.context = context
        self.storing = storing
        self.interval = interval or context.settings.visibility_timeout_seconds / 4
        self.model = context.settings.model_name
        self.worker = worker_name()
        self.broker: Redis | None = None
        url = context.settings.broker_url
        if url is None:
            self.broker = context.redis
        elif url.get_secret_value().startswith("redis"):
            self.broker = Redis.from_url(url.get_secret_value(), decode_responses=True, **TIMEOUTS)
        self.seen: dict[str, float] = {}  # job id → time at which it was first seen running
        self.canceled: dict[str, float] = {}  # job id → time at which it was first seen canceled
        self.running: dict[tuple[str, int], float] = {}  # job id, attempt → time at which it was first seen
        self.last_busy = time.monotonic()
        self.stopped = threading.Event()

    def run(self) -> None:
        last_beat = 0.0
        while not self.stopped.wait(min(1.0, self.interval)):
            if time.monotonic() - last_beat >= self.interval and self._survives(self.beat):
                last_beat = time.monotonic()
            self._survives(self.storing.beat)
            self._survives(self.stop_stuck)

    def _survives(self, step: Callable[[], None]) -> bool:
        """Whether the step ran without an error; none may end this thread, which alone renews and beats."""
        try:
            step()
        except RedisError as error:
            log.warning("Redis is not reachable: %s", error)
        except Exception:
            log.exception("unexpected error in the watchdog")
            self.context.jobs.counters.failed("watchdog")
        else:
            return True
        return False

    def beat(self) -> None:
        if fault := clock_fault(self.context.redis):
            self._exit(fault)  # others would take its deliveries and leases for lapsed, or never for lapsed
        requests = _requests()
        now = time.monotonic()
        self.seen = {r.id: self.seen.get(r.id, now) for r in requests}
        # Not from the registry: Redis may have lost its data since the child wrote there.
        if loaded := self.storing.spool.loaded():
            self.context.registry.beat(self.worker, loaded, 4 * self.interval)
        # A job may wait for the files of two others to be stored before its own time begins.
        deadline = self.context.settings.job_deadline_seconds + 2 * self.context.settings.storing_seconds + 60
        for request in requests:
            if now - self.seen[request.id] < deadline:
                self._renew(request)
            else:
                self._exit(f"job {request.id} is still running after {deadline} s")
        if requests or not self._waiting():
            self.last_busy = now
        elif now - self.last_busy > IDLE_SECONDS:
            self._exit(f"jobs are waiting but none was started for {IDLE_SECONDS:.0f} s")

    def stop_stuck(self) -> None:
        """Kill the process of a job that should stop and does not; the pool starts a new one.

        Only the job that the process computes is lost with it: files are stored elsewhere.
        """
        now = time.monotonic()
        canceled, running = {}, {}
        for request in _requests():
            job = self._record(request.id) if request.worker_pid else None
            if job is None:
                continue
            if job.state in (State.CANCELED, State.EXPIRED):
                since = canceled[job.id] = self.canceled.get(job.id, now)
                if now - since > CANCEL_GRACE:
                    self._kill(request, f"job {job.id} was canceled but does not stop")
            elif job.state is State.RUNNING:
                attempt = job.id, job.attempt
                since = running[attempt] = self.running.get(attempt, now)
                if now - since > self.context.settings.job_deadline_seconds + DEADLINE_GRACE:
                    self.context.jobs.fail(job, self.context.deadline_error())
                    self._kill(request, f"job {job.id} is past its deadline but does not stop")
        self.canceled, self.running = canceled, running

    def _kill(self, request: Any, reason: str) -> None:
        if request in _requests():
            log.warning("%s, killing its process", reason)
            os.kill(request.worker_pid, signal.SIGKILL)

    def _record(self, job_id: str) -> Job | None:
        try:
            return self.context.jobs.get(job_id)
        except UnreadableRecord as error:  # its attempt ends at its next report
            self.context.jobs.quarantined.add(error)
            return None

    def is_busy(self) -> bool:
        """Whether this worker computes or stores anything."""
        return bool(_requests() or self.storing.spool.entries())

    def give_back(self) -> None:
        """Record that the running attempts end because this process is stopping, so they do not count.

        Must be called before the pool is stopped.
        """
        url = self.context.settings.redis_url.get_secret_value()
        dropped = self.storing.stop()
        try:
            with Redis.from_url(url, decode_responses=True, **SHUTDOWN_TIMEOUTS) as redis:
                jobs = JobStore(redis)
                for job_id in [request.id for request in _requests()] + dropped:
                    jobs.give_back(job_id)
                for job_id in dropped:
                    redis.zadd(jobs.leased, {job_id: 0.0}, xx=True)  # re-enqueue immediately
        except RedisError as error:
            log.warning("Redis is not reachable, running jobs will count as lost: %s", error)

    def _renew(self, request: Any) -> None:
        if self.broker is not None:
            self.broker.zadd(UNACKED_INDEX, {request.message.delivery_tag: time.time()}, xx=True)

    def _waiting(self) -> bool:
        return self.broker is not None and self.broker.exists(*queue_keys(self.model)) > 0

    def _exit(self, reason: str) -> None:
        log.critical("exiting: %s", reason)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(EXIT_GRACE)
        os._exit(70)

    def stop(self) -> None:
        self.stopped.set()
        try:
            self.context.registry.leave(self.worker, self.model)
        except RedisError:
            log.warning("Redis is not reachable; this worker's registry entry will expire")


def _requests() -> list[Any]:
    """The deliveries held by this worker. Retries if the set changes during iteration."""
    while True:
        try:
            return list(state.reserved_requests)
        except RuntimeError:
            continue
