"""Files are stored by a process of their own: no other job's end reaches it, and it is bounded itself."""

import hashlib
import io
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state
from redis import Redis

from service.api.background.tasks import queue_dropped_jobs
from service.api.dependencies import GatewayContext
from service.core.jobs.options import Options, Switch
from service.core.jobs.record import Input, Job, State
from service.core.queue import queue_keys
from service.core.settings import Settings
from service.local.object_store import ObjectStore
from tests.conftest import messages
from tests.suites.load.small_model import write_small_model
from worker.serving import storer
from worker.serving import storing as storing_module
from worker.serving.context import WorkerContext
from worker.serving.deadline import DeadlineExceeded, deadline
from worker.serving.runner import Runner
from worker.serving.spool import Entry, Spool, open_spool
from worker.serving.storing import Storing
from worker.serving.watchdog import CANCEL_GRACE, DEADLINE_GRACE, Watchdog


@pytest.fixture(scope="module")
def runner(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    config, checkpoint = write_small_model(tmp_path_factory.mktemp("small"))
    small = {"model": str(config), "checkpoint": str(checkpoint), "visibility_timeout_seconds": 4}
    context = WorkerContext(settings.model_copy(update=small))
    runner = Runner(context, Spool(tmp_path_factory.mktemp("spool")))
    yield runner
    runner.context.redis.hdel(runner.context.registry.models_key, "small")


@pytest.fixture(autouse=True)
def empty_spool(runner: Runner) -> None:
    for entry in runner.spool.entries():
        runner.spool.discard(entry)


@pytest.fixture
def gate(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Storing results in this process blocks until this event is set."""
    opened, put = threading.Event(), runner.context.store.put

    def wait_and_put(key: str, file: Any, media_type: str) -> None:
        assert key.endswith("/input") or opened.wait(60)
        put(key, file, media_type)

    monkeypatch.setattr(runner.context.store, "put", wait_and_put)
    return opened


@pytest.fixture
def storing(runner: Runner, server_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Storing]:
    """The real process that stores files, once `beat` is called."""
    for name, value in server_env.items():
        monkeypatch.setitem(os.environ, name, value)
    supervisor = Storing(runner.context, runner.spool)
    yield supervisor
    supervisor._kill()
    for entry in runner.spool.entries():
        runner.spool.discard(entry)


@pytest.fixture
def stuck(storing: Storing, monkeypatch: pytest.MonkeyPatch) -> Storing:
    """A process that takes a reconstruction, as far as the folder shows, and never finishes."""
    monkeypatch.setattr(storing_module, "STORER", ["sh", "-c", "exec sleep 60"])
    storing.beat()
    return storing


def queued(runner: Runner, sample: bytes) -> Job:
    source = Input(frames=17, points=300, bytes=len(sample), sha256=hashlib.sha256(sample).hexdigest())
    job = Job.new("small", Options(resolution=32, refine=Switch.OFF), source, 600)
    runner.context.store.put(job.input_key, io.BytesIO(sample), "application/octet-stream")
    runner.context.jobs.create(job)
    return job


def reconstructed(runner: Runner, sample: bytes) -> Job:
    """A job whose meshes are in the spool."""
    job = queued(runner, sample)
    runner.begin(job.id)
    return job


def now(runner: Runner, job: Job) -> Job:
    record = runner.context.jobs.get(job.id)
    assert record is not None
    return record


def leases(runner: Runner) -> list[Any]:
    return runner.context.redis.zrange(runner.context.jobs.leased, 0, -1)


def own_messages(redis: Redis, job: Job) -> int:
    """How often the job is in the queue; jobs of other files may be there as well."""
    return sum(job.id in message for message in messages(redis, "small"))


def test_next_job_runs_while_files_are_stored(runner: Runner, gate: threading.Event, sample: bytes) -> None:
    first = reconstructed(runner, sample)
    assert now(runner, first).state is State.RUNNING
    assert first.id in leases(runner)
    storer = threading.Thread(target=runner.finish_next)
    storer.start()
    while not runner.spool.entries()[0].taken:
        time.sleep(0.01)
    second = reconstructed(runner, sample)
    assert [entry.taken for entry in runner.spool.entries()] == [True, False]
    assert now(runner, first).state is State.RUNNING
    gate.set()
    storer.join()
    runner.finish_next()
    for job in (first, second):
        record = now(runner, job)
        assert (record.state, record.attempt) == (State.SUCCEEDED, 1)
        assert record.result is not None
        [file] = record.result.files
        assert runner.context.store.size(record.result_key(file.name)) == file.bytes
        assert record.result.timings.keys() >= {"queue", "fetch", "write", "store", "total"}
    assert not {first.id, second.id} & set(leases(runner))


def test_job_that_waits_for_others_to_be_stored_has_not_begun(runner: Runner, sample: bytes) -> None:
    """Its time does not run, and canceling it kills nothing."""
    reconstructed(runner, sample)  # and nobody stores it
    waiting, canceled = queued(runner, sample), queued(runner, sample)
    thread = threading.Thread(target=runner.begin, args=[waiting.id])
    thread.start()
    runner.context.jobs.cancel(canceled.id)
    start = time.monotonic()
    runner.begin(canceled.id)
    assert time.monotonic() - start < CANCEL_GRACE  # the watchdog would kill the process after that
    assert now(runner, waiting).state is State.QUEUED
    assert now(runner, waiting).started_at is None
    runner.finish_next()
    thread.join(30)
    runner.finish_next()
    assert now(runner, waiting).state is State.SUCCEEDED


def test_the_end_of_another_job_does_not_reach_the_process_that_stores(
    runner: Runner,
    storing: Storing,
    sample: bytes,
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine, yours = reconstructed(runner, sample), queued(runner, sample)
    hanging = subprocess.Popen(["sleep", "60"])  # in place of the process with the model, at work on yours
    object_store.pause()
    try:
        storing.beat()
        while not all(entry.taken for entry in runner.spool.entries()):
            time.sleep(0.01)
        runner.context.jobs.claim(yours.id, 3)
        monkeypatch.setattr(
            state, "reserved_requests", [SimpleNamespace(id=yours.id, worker_pid=hanging.pid)]
        )
        watcher = Watchdog(runner.context, storing)
        runner.context.jobs.cancel(yours.id)
        watcher.stop_stuck()
        watcher.canceled[yours.id] -= CANCEL_GRACE + 0.1
        watcher.stop_stuck()
        assert hanging.wait(5) == -signal.SIGKILL
    finally:
        object_store.resume()
        hanging.kill()
    end = time.monotonic() + 30
    while now(runner, mine).state is State.RUNNING:
        assert time.monotonic() < end
        storing.beat()
        time.sleep(0.05)
    assert (now(runner, mine).state, now(runner, mine).attempt) == (State.SUCCEEDED, 1)


def test_storing_too_long_fails_the_job(runner: Runner, stuck: Storing, sample: bytes) -> None:
    slow = reconstructed(runner, sample)
    assert runner.spool.take() is not None
    other = reconstructed(runner, sample)
    stuck.beat()
    stuck.since[slow.id] -= runner.context.settings.storing_seconds + 1
    stuck.beat()
    error = now(runner, slow).error
    assert error is not None
    assert error.code == "deadline_exceeded"
    assert "300 s" in error.message
    assert stuck.process is not None
    assert stuck.process.poll() == -signal.SIGKILL
    stuck.beat()  # starts another, which goes on with the other job
    assert stuck.process.poll() is None
    assert [entry.job_id for entry in runner.spool.entries()] == [other.id]
    assert other.id in leases(runner)
    assert slow.id not in leases(runner)
    runner.context.jobs.cancel(other.id)


def test_canceled_job_whose_files_are_stored_is_stopped(
    runner: Runner, stuck: Storing, sample: bytes
) -> None:
    job = reconstructed(runner, sample)
    assert runner.spool.take() is not None
    stuck.beat()
    runner.context.jobs.cancel(job.id)
    stuck.beat()
    assert stuck.process is not None
    assert stuck.process.poll() is None  # it has some seconds to stop on its own
    stuck.ended[job.id] -= storing_module.CANCEL_GRACE + 0.1
    stuck.beat()
    assert stuck.process.poll() == -signal.SIGKILL
    stuck.beat()
    assert runner.spool.entries() == []


def test_result_that_does_not_fit_into_memory_fails_its_job(
    runner: Runner, sample: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = reconstructed(runner, sample)
    entry = runner.spool.take()
    assert entry is not None

    def too_large(_: Entry) -> None:
        raise MemoryError

    monkeypatch.setattr(runner.spool, "load", too_large)
    monkeypatch.setattr(storer, "limit_memory", lambda _: None)
    storer.store(runner.context, runner.spool, entry)
    error = now(runner, job).error
    assert error is not None
    assert error.code == "out_of_memory"


def test_death_while_storing_queues_the_job_again(runner: Runner, stuck: Storing, sample: bytes) -> None:
    job = reconstructed(runner, sample)
    assert runner.spool.take() is not None
    assert stuck.process is not None
    stuck.process.kill()
    stuck.process.wait()
    stuck.beat()
    assert runner.spool.entries() == []
    assert runner.context.redis.zscore(runner.context.jobs.leased, job.id) == 0.0  # due at once
    assert now(runner, job).given_back == []  # it counts as a death
    runner.context.jobs.cancel(job.id)


def test_job_dropped_while_storing_is_requeued(
    runner: Runner, gate: threading.Event, settings: Settings, sample: bytes
) -> None:
    job = reconstructed(runner, sample)
    gateway = GatewayContext(settings)
    queue_dropped_jobs(gateway)
    redis = runner.context.redis
    assert own_messages(redis, job) == 0  # protected by its lease
    runner.context.redis.zadd(runner.context.jobs.leased, {job.id: 0})  # as if it had run out
    queue_dropped_jobs(gateway)
    assert own_messages(redis, job) == 1
    assert job.id not in leases(runner)
    queue_dropped_jobs(gateway)
    assert own_messages(redis, job) == 1
    redis.delete(*queue_keys("small"))
    taken_over = runner.context.jobs.claim(job.id, 3)  # by another worker
    assert taken_over is not None
    gate.set()
    runner.finish_next()  # the first attempt is superseded
    record = now(runner, job)
    assert (record.state, record.attempt) == (State.RUNNING, 2)
    assert job.id not in leases(runner)
    runner.context.jobs.cancel(job.id)


def test_success_is_reported_again_after_a_lost_reply(runner: Runner, sample: bytes) -> None:
    job = queued(runner, sample)
    runner.run(job.id)
    record = now(runner, job)
    assert record.state is State.SUCCEEDED
    assert record.result is not None
    assert runner.context.jobs.succeed(record, record.result)  # repeated call of the same attempt
    assert not runner.context.jobs.succeed(record.with_(attempt=2), record.result)


def test_process_past_its_deadline_is_killed_and_its_job_fails(
    runner: Runner, stuck: Storing, sample: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queued(runner, sample)
    hanging = subprocess.Popen(["sleep", "60"])
    request = SimpleNamespace(id=job.id, worker_pid=hanging.pid)
    monkeypatch.setattr(state, "reserved_requests", [request])
    watcher = Watchdog(runner.context, stuck)
    watcher.stop_stuck()
    assert not watcher.running  # it has not begun: its time does not run
    runner.context.jobs.claim(job.id, 3)
    watcher.stop_stuck()
    assert hanging.poll() is None
    watcher.running[job.id, 1] -= runner.context.settings.job_deadline_seconds + DEADLINE_GRACE
    watcher.stop_stuck()
    assert hanging.wait(5) == -signal.SIGKILL
    error = now(runner, job).error
    assert error is not None
    assert error.code == "deadline_exceeded"
    assert "900 s" in error.message


def test_deadline_interrupts_the_main_thread() -> None:
    with pytest.raises(DeadlineExceeded), deadline(0.05):
        time.sleep(10)
    with deadline(0.05):
        pass
    time.sleep(0.1)  # the timer has been stopped


def test_folders_of_dead_workers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine = open_spool()
    stale = tmp_path / "oflow-results-stale"
    stale.mkdir()
    other = open_spool()
    assert set(tmp_path.iterdir()) == {mine.folder, other.folder}
