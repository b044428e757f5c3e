"""Fixtures with real servers: one Redis and one object store per session, in temporary directories.

Of several test processes (`pytest -n 2 --dist loadfile`), each has servers of its own; the tests of a file
run in one of them, since they share the gateways, workers and trained models of its fixtures.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: as in workers, whose processes share the cores

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from redis import Redis

from service.core.jobs.store import JobStore
from service.core.jobs.stored import UnreadableRecord
from service.core.queue import queue_keys
from service.core.registry import Registry
from service.core.settings import Settings
from service.local.log import MergedLog
from service.local.object_store import ObjectStore
from service.local.redis_server import RedisServer
from service.local.stack import service_environment
from service.page.samples import SAMPLES
from tests.integration.service_processes import ANY_INPUT, Gateway, Worker, running


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Draw the same weights in each run, also in the fixtures of a module, which its first test sets up."""
    torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Draw the same weights whether the fixtures of a test were set up for it or for one before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running Redis with `url`, `restart()`, `kill()` then `start()`, `pause()` and `resume()`."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), MergedLog(sys.__stderr__ or sys.stderr))
    with running(server, 20):
        yield server


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A running S3 server: `endpoint_url`, `access_key_id`, `secret_access_key`, `bucket`, `client()`."""
    server = ObjectStore(tmp_path_factory.mktemp("store"), MergedLog(sys.__stderr__ or sys.stderr))
    with running(server, 20):
        yield server


@pytest.fixture(scope="session")
def server_env(redis_server: RedisServer, object_store: ObjectStore) -> dict[str, str]:
    """The environment of a gateway or worker process that uses these two servers."""
    return service_environment(redis_server.url, object_store)


@pytest.fixture(scope="session")
def settings(server_env: dict[str, str]) -> Settings:
    """The settings of a process started with `server_env`, for use inside the test process."""
    names = {f"OFLOW_{field.upper()}": field for field in Settings.model_fields}
    values: dict[str, Any] = {field: server_env[name] for name, field in names.items() if name in server_env}
    return Settings(**values)


@pytest.fixture(scope="module")
def gateway(server_env: dict[str, str]) -> Iterator[Gateway]:
    """A running gateway."""
    with running(Gateway(server_env)) as process:
        yield process


@pytest.fixture(scope="module")
def worker(server_env: dict[str, str]) -> Iterator[Worker]:
    """A running worker that has loaded the default model."""
    with running(Worker(server_env), 240) as process:
        yield process


@pytest.fixture(scope="module")
def any_model(settings: Settings) -> Iterator[str]:
    """The name of a model without workers that accepts any input; its jobs stay queued.

    Jobs that other files have left in its queue are canceled.
    """
    registry = Registry(redis_of(settings))
    jobs = JobStore(registry.redis)
    for job_id in registry.redis.zrange(jobs.waiting_key(ANY_INPUT.name), 0, -1):
        with suppress(UnreadableRecord):
            jobs.cancel(str(job_id))
    registry.announce(ANY_INPUT)
    yield ANY_INPUT.name
    registry.redis.hdel(registry.models_key, ANY_INPUT.name)


@pytest.fixture(scope="session")
def jobs(settings: Settings) -> JobStore:
    """The job records, to act as a worker or to simulate time."""
    return JobStore(redis_of(settings))


@pytest.fixture
def queued(gateway: Gateway, any_model: str, sample: bytes) -> dict[str, Any]:
    """A job that stays queued."""
    return gateway.submit(sample, model=any_model)


def messages(redis: Redis, model: str) -> list[str]:
    """The messages in the queue of a model, of all priorities."""
    return [str(message) for key in queue_keys(model) for message in redis.lrange(key, 0, -1)]


def redis_of(settings: Settings) -> Redis:
    return Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True)


@pytest.fixture(scope="session")
def sample() -> bytes:
    """A bundled sample file."""
    return SAMPLES["knees"].path.read_bytes()
