"""The worker's connections: job records, object store and registry."""

import os
import socket

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from service.core.jobs.record import JobError
from service.core.jobs.store import JobStore
from service.core.object_store import ObjectStore
from service.core.registry import Registry
from service.core.settings import Settings


class WorkerContext:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.redis = Redis.from_url(
            settings.redis_url.get_secret_value(),
            decode_responses=True,
            socket_connect_timeout=3,
            socket_timeout=10,
            retry=Retry(ExponentialBackoff(cap=5, base=0.1), 10),  # outlasts a restart of Redis
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
        )
        self.jobs = JobStore(self.redis)
        self.registry = Registry(self.redis)
        self.store = ObjectStore(settings)
        self.limits = settings.limits

    def deadline_error(self) -> JobError:
        seconds = self.settings.job_deadline_seconds
        message = f"The job exceeded the time limit of {seconds} s and was stopped. Try a lower resolution."
        return JobError(code="deadline_exceeded", message=message)


def worker_name(pid: int | None = None) -> str:
    """The name in the registry of this worker, or of the one whose parent process has this id."""
    return f"{socket.gethostname()}:{pid or os.getpid()}"
