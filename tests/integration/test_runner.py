"""Failing and superseded attempts, with real records and files."""

import io
import subprocess
from typing import Any

import pytest

from service.core.jobs.options import Options
from service.core.jobs.record import Input, Job, JobError, Progress, State
from service.core.sequences.sequence import inspect_sequence
from service.core.settings import Settings
from tests.integration.service_processes import WORKER
from worker.serving.context import WorkerContext
from worker.serving.runner import Runner
from worker.serving.spool import Spool


@pytest.fixture(scope="module")
def runner(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(WorkerContext(settings), Spool(tmp_path_factory.mktemp("spool")))


@pytest.fixture
def job(runner: Runner, sample: bytes) -> Job:
    """A queued job with its stored input."""
    return queue(runner, sample, sample)


def queue(runner: Runner, announced: bytes, stored: bytes, **options: Any) -> Job:
    import hashlib

    info = inspect_sequence(io.BytesIO(announced))
    source = Input(
        frames=info.frames,
        points=info.points,
        bytes=len(announced),
        sha256=hashlib.sha256(announced).hexdigest(),
    )
    job = Job.new("bodies", Options(resolution=32, **options), source, 600)
    runner.context.store.put(job.input_key, io.BytesIO(stored), "application/octet-stream")
    runner.context.jobs.create(job)
    return job


def ended(runner: Runner, job: Job) -> Job:
    record = runner.context.jobs.get(job.id)
    assert record is not None
    return record


def test_job_that_kills_every_worker_fails(runner: Runner, job: Job) -> None:
    for attempt in (1, 2, 3):  # each attempt starts and its worker dies
        claimed = runner.context.jobs.claim(job.id, 3)
        assert claimed is not None
        assert claimed.attempt == attempt
    runner.run(job.id)
    record = ended(runner, job)
    assert record.state is State.FAILED
    assert record.error is not None
    assert record.error.code == "worker_lost"
    assert "3 times" in record.error.message


def test_only_the_current_attempt_can_end_a_job(runner: Runner, job: Job) -> None:
    jobs = runner.context.jobs
    first = jobs.claim(job.id, 3)
    second = jobs.claim(job.id, 3)
    assert first is not None
    assert second is not None
    assert not jobs.report(first, Progress(stage="extract", percent=50))
    assert jobs.fail(second, JobError(code="canceled", message="first"))
    assert not jobs.fail(second, JobError(code="canceled", message="second"))
    assert not jobs.fail(first, JobError(code="canceled", message="third"))
    assert ended(runner, job).error == JobError(code="canceled", message="first")
    runner.run(job.id)  # redelivered after the job has ended
    assert ended(runner, job).attempt == 2


def test_superseded_attempt_stops_without_results(
    runner: Runner, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = runner.context.jobs.claim

    def claim_twice(*arguments: Any) -> Job | None:
        mine = claim(*arguments)
        claim(*arguments)  # a second worker claims the job
        return mine

    monkeypatch.setattr(runner.context.jobs, "claim", claim_twice)
    runner.run(job.id)
    record = ended(runner, job)
    assert (record.state, record.attempt, record.result) == (State.RUNNING, 2, None)
    listed = runner.context.store.client.list_objects_v2(
        Bucket=runner.context.store.bucket, Prefix=f"jobs/{job.id}/attempt"
    )
    assert listed["KeyCount"] == 0


def test_altered_input_fails_the_job(runner: Runner, sample: bytes) -> None:
    job = queue(runner, announced=sample, stored=sample + b"x")
    runner.run(job.id)
    record = ended(runner, job)
    assert record.error is not None
    assert record.error.code == "input_altered"


def test_missing_input_fails_the_job(runner: Runner, job: Job) -> None:
    runner.context.store.delete(job.input_key)
    runner.run(job.id)
    record = ended(runner, job)
    assert record.error is not None
    assert record.error.code == "input_missing"


def test_internal_errors_do_not_leak_details(
    runner: Runner, job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("/secret/path")

    monkeypatch.setattr(runner, "reconstructor", broken)
    runner.run(job.id)
    record = ended(runner, job)
    assert record.error is not None
    assert record.error.code == "internal_error"
    assert "secret" not in record.error.message
    assert "/secret/path" in caplog.text  # the traceback is logged


def test_worker_without_model_exits_with_message_and_code(server_env: dict[str, str]) -> None:
    done = subprocess.run(
        [*WORKER, "serve", "--model", "pointcloud/oflow"],
        env=server_env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 78
    output = done.stdout + done.stderr
    assert "cannot load the model" in output
    assert "no checkpoint" in output
    assert "Traceback" not in output
