"""Files are stored while the next job runs, and no job is lost if the worker dies meanwhile."""

import hashlib
import io
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from service.api.background.tasks import queue_dropped_jobs
from service.api.dependencies import GatewayContext
from service.core.jobs.options import Options, Switch
from service.core.jobs.record import Input, Job, State
from service.core.queue import queue_name
from service.core.settings import Settings
from tests.suites.load.small_model import write_small_model
from worker.serving.context import WorkerContext
from worker.serving.runner import Runner


@pytest.fixture(scope="module")
def runner(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    config, checkpoint = write_small_model(tmp_path_factory.mktemp("small"))
    small = {"model": str(config), "checkpoint": str(checkpoint), "visibility_timeout_seconds": 4}
    runner = Runner(WorkerContext(settings.model_copy(update=small)))
    yield runner
    runner.context.redis.hdel(runner.context.registry.models_key, "small")


@pytest.fixture
def gate(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Storing results blocks until this event is set."""
    opened, put = threading.Event(), runner.context.store.put

    def wait_and_put(key: str, file: Any, media_type: str) -> None:
        assert key.endswith("/input") or opened.wait(60)
        put(key, file, media_type)

    monkeypatch.setattr(runner.context.store, "put", wait_and_put)
    return opened


def queued(runner: Runner, sample: bytes) -> Job:
    source = Input(frames=17, points=300, bytes=len(sample), sha256=hashlib.sha256(sample).hexdigest())
    job = Job.new("small", Options(resolution=32, refine=Switch.OFF), source, 600)
    runner.context.store.put(job.input_key, io.BytesIO(sample), "application/octet-stream")
    runner.context.jobs.create(job)
    return job


def now(runner: Runner, job: Job) -> Job:
    record = runner.context.jobs.get(job.id)
    assert record is not None
    return record


def leases(runner: Runner) -> list[Any]:
    return runner.context.redis.zrange(runner.context.jobs.leased, 0, -1)


def test_next_job_runs_while_files_are_stored(runner: Runner, gate: threading.Event, sample: bytes) -> None:
    first, second = queued(runner, sample), queued(runner, sample)
    runner.begin(first.id)  # returns although nothing can be stored yet
    assert now(runner, first).state is State.RUNNING
    assert leases(runner) == [first.id]
    next_one = threading.Thread(target=runner.begin, args=[second.id])
    next_one.start()
    while now(runner, second).progress.stage != "fit":  # the last stage before writing
        assert next_one.is_alive()
    assert now(runner, first).state is State.RUNNING
    gate.set()
    next_one.join()
    runner.finalizer.wait()
    for job in (first, second):
        record = now(runner, job)
        assert (record.state, record.attempt) == (State.SUCCEEDED, 1)
        assert record.result is not None
        [file] = record.result.files
        assert runner.context.store.size(record.result_key(file.name)) == file.bytes
    assert leases(runner) == []


def test_job_dropped_while_storing_is_requeued(
    runner: Runner, gate: threading.Event, settings: Settings, sample: bytes
) -> None:
    job = queued(runner, sample)
    runner.begin(job.id)
    gateway = GatewayContext(settings)
    queue_dropped_jobs(gateway)
    queue = queue_name("small")
    assert runner.context.redis.llen(queue) == 0  # protected by its lease
    runner.context.redis.zadd(runner.context.jobs.leased, {job.id: 0})  # as if it had run out
    queue_dropped_jobs(gateway)
    assert runner.context.redis.llen(queue) == 1
    assert leases(runner) == []
    queue_dropped_jobs(gateway)
    assert runner.context.redis.llen(queue) == 1
    runner.context.redis.delete(queue)
    taken_over = runner.context.jobs.claim(job.id, 3)  # by another worker
    assert taken_over is not None
    gate.set()
    runner.finalizer.wait()  # the first attempt is superseded
    record = now(runner, job)
    assert (record.state, record.attempt) == (State.RUNNING, 2)
    assert leases(runner) == []
    runner.context.jobs.cancel(job.id)


def test_success_is_reported_again_after_a_lost_reply(runner: Runner, sample: bytes) -> None:
    job = queued(runner, sample)
    runner.run(job.id)
    record = now(runner, job)
    assert record.state is State.SUCCEEDED
    assert record.result is not None
    assert runner.context.jobs.succeed(record, record.result)  # repeated call of the same attempt
    assert not runner.context.jobs.succeed(record.with_(attempt=2), record.result)
