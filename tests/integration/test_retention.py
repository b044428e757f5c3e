"""Records end and files go at `expires_at`; what a dead gateway left half done is finished."""

import io
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from service.deps import Parts
from service.housekeeping import queue_lost_jobs
from service.job_store import KEPT_AFTER_EXPIRY, JobStore
from service.jobs import Fit, Input, Job, Mesh, Result, ResultFile, State
from service.options import Options
from service.queue import queue_name
from service.settings import Settings
from tests.integration.service_processes import Gateway

RESULT = Result(
    files=[ResultFile(format="glb", name="mesh.glb", bytes=3, sha256=sha256(b"abc").hexdigest())],
    mesh=Mesh(vertices=1, faces=1, frames=2, watertight=True),
    fit=Fit(mean=[0.1], p95=[0.2]),
    timings={},
)


@pytest.fixture
def parts(settings: Settings) -> Parts:
    return Parts(settings)


def short(parts: Parts, seconds: float) -> Job:
    """A job with an input file, which expires soon."""
    job = Job.new("any", Options(), Input(frames=2, points=32, bytes=3, sha256="0" * 64), 60)
    job = job.with_(expires_at=datetime.now(UTC) + timedelta(seconds=seconds))
    parts.store.put(job.input_key, io.BytesIO(b"abc"), "text/plain")
    parts.jobs.create(job)
    return job


def files(parts: Parts, job: Job) -> int:
    found = parts.store.client.list_objects_v2(Bucket=parts.store.bucket, Prefix=f"jobs/{job.id}/")
    return found["KeyCount"]


def until_gone(parts: Parts, job: Job) -> None:
    end = time.monotonic() + 10
    while files(parts, job):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_an_ended_job_expires_with_its_files(gateway: Gateway, parts: Parts) -> None:
    job = short(parts, 2.0)
    attempt = parts.jobs.claim(job.id, 3)
    assert attempt is not None
    parts.store.put(attempt.result_key("mesh.glb"), io.BytesIO(b"abc"), "model/gltf-binary")
    assert parts.jobs.succeed(attempt, RESULT)
    here = f"/jobs/{job.id}"
    assert gateway.client.get(here).json()["state"] == "succeeded"
    assert gateway.client.get(f"{here}/result?redirect=false").content == b"abc"
    assert files(parts, job) == 2
    until_gone(parts, job)
    told = gateway.client.get(here).json()
    assert (told["state"], "result" in told) == ("expired", False)
    gone = gateway.client.get(f"{here}/result")
    assert (gone.status_code, gone.json()["code"], gone.json()["job_id"]) == (410, "job_expired", job.id)
    assert [event[1] for event in parts.jobs.events.after(job.id, 0)] == ["state"] * 4
    assert parts.redis.zscore(parts.jobs.expiry, job.id) is None
    left = parts.redis.ttl(parts.jobs.key(job.id))
    assert abs(left - KEPT_AFTER_EXPIRY.total_seconds()) < 30  # then the record goes as well


def test_a_job_expires_to_the_second_even_before_its_files_are_deleted(
    gateway: Gateway, parts: Parts
) -> None:
    job = short(parts, 60)
    parts.jobs.cancel(job.id)
    text = parts.jobs.get(job.id)
    assert text is not None
    past = text.with_(expires_at=datetime.now(UTC))
    parts.redis.set(parts.jobs.key(job.id), past.model_dump_json(exclude_none=True))
    assert gateway.client.get(f"/jobs/{job.id}").json()["state"] == "expired"
    assert files(parts, job) == 1


@pytest.mark.parametrize("started", [False, True])
def test_a_job_that_has_not_ended_in_time_is_canceled(gateway: Gateway, parts: Parts, started: bool) -> None:
    job = short(parts, 0.5)
    if started:
        parts.jobs.claim(job.id, 3)
    until_gone(parts, job)
    told = gateway.client.get(f"/jobs/{job.id}").json()
    assert told["state"] == "expired"
    assert told["error"]["code"] == "expired"
    assert parts.redis.zscore(parts.jobs.waiting_key("any"), job.id) is None


def test_a_job_that_was_recorded_and_not_queued_is_queued_by_another_gateway(parts: Parts) -> None:
    queue = queue_name("any")
    parts.redis.delete(queue)
    job, other = short(parts, 60), short(parts, 60)
    parts.jobs.sent(other.id)
    queue_lost_jobs(parts)
    assert parts.redis.llen(queue) == 0  # its gateway may still be at it
    parts.redis.zadd(parts.jobs.unsent, {job.id: time.time() - 1})
    for _ in range(2):
        queue_lost_jobs(parts)
    assert parts.redis.llen(queue) == 1
    assert job.id in str(parts.redis.lindex(queue, 0))


def test_two_gateways_share_what_is_due(parts: Parts) -> None:
    from service.schedule import due

    parts.redis.zadd("things", {str(n): time.time() - 1 for n in range(20)})
    first, second = due(parts.redis, "things", 60, 10), due(parts.redis, "things", 60, 50)
    assert (len(first), len(second)) == (10, 10)
    assert not set(first) & set(second)
    assert due(parts.redis, "things", 60, 50) == []
    parts.redis.delete("things")


def test_an_expired_record_stays_as_it_is(parts: Parts, jobs: JobStore) -> None:
    job = short(parts, 60)
    jobs.cancel(job.id)
    expired = jobs.expire(job.id)
    assert expired is not None
    assert expired.state is State.EXPIRED
    changes: list[Any] = [jobs.expire(job.id), jobs.cancel(job.id), jobs.claim(job.id, 3)]
    assert changes == [None, None, None]
