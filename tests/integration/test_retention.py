"""Expiry of jobs and files, and recovery of jobs left behind by a dead gateway."""

import io
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.api.background.tasks import at_the_right_time, queue_lost_jobs
from service.api.dependencies import GatewayContext
from service.api.routes.health import _check_all
from service.core import clock
from service.core.jobs.options import Options
from service.core.jobs.record import Input, Job, State
from service.core.jobs.records import KEPT_AFTER_EXPIRY
from service.core.jobs.store import JobStore
from service.core.queue import queue_keys
from service.core.settings import Settings
from tests.conftest import messages
from tests.integration.acting_worker import finish
from tests.integration.service_processes import Gateway


@pytest.fixture
def context(settings: Settings) -> GatewayContext:
    return GatewayContext(settings)


def short(context: GatewayContext, seconds: float) -> Job:
    """A job with an input file that expires soon."""
    job = Job.new("any", Options(), Input(frames=2, points=32, bytes=3, sha256="0" * 64), 60)
    job = job.with_(expires_at=datetime.now(UTC) + timedelta(seconds=seconds))
    context.store.put(job.input_key, io.BytesIO(b"abc"), "text/plain")
    context.jobs.create(job)
    return job


def files(context: GatewayContext, job: Job) -> int:
    found = context.store.client.list_objects_v2(Bucket=context.store.bucket, Prefix=f"jobs/{job.id}/")
    return found["KeyCount"]


def until_gone(context: GatewayContext, job: Job) -> None:
    end = time.monotonic() + 10
    while files(context, job):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_gateway_with_a_wrong_clock_deletes_nothing(
    context: GatewayContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = list[GatewayContext]()
    at_the_right_time(ran.append, context)
    assert ran == [context]
    monkeypatch.setattr(clock, "MOST_SECONDS", -1)
    monkeypatch.setattr(clock, "FRESH_SECONDS", 0)
    at_the_right_time(ran.append, context)
    assert len(ran) == 1
    assert "set it, for example by NTP" in _check_all(context).clock


def test_expired_job_loses_its_files(gateway: Gateway, context: GatewayContext) -> None:
    job = short(context, 2.0)
    finish(context, job.id)
    href = f"/jobs/{job.id}"
    assert gateway.client.get(href).json()["state"] == "succeeded"
    assert gateway.client.get(f"{href}/result?redirect=false").content == b"abc"
    assert files(context, job) == 2
    until_gone(context, job)
    body = gateway.client.get(href).json()
    assert (body["state"], "result" in body) == ("expired", False)
    gone = gateway.client.get(f"{href}/result")
    assert (gone.status_code, gone.json()["code"], gone.json()["job_id"]) == (410, "job_expired", job.id)
    assert [event[1] for event in context.jobs.events.after(job.id, 0)] == ["state"] * 4
    assert context.redis.zscore(context.jobs.expiry, job.id) is None
    left = context.redis.ttl(context.jobs.key(job.id))
    assert abs(left - KEPT_AFTER_EXPIRY.total_seconds()) < 30  # then the record is deleted as well


def test_job_is_expired_before_its_files_are_deleted(gateway: Gateway, context: GatewayContext) -> None:
    job = short(context, 60)
    context.jobs.cancel(job.id)
    text = context.jobs.get(job.id)
    assert text is not None
    past = text.with_(expires_at=datetime.now(UTC))
    context.redis.set(context.jobs.key(job.id), past.model_dump_json(exclude_none=True))
    assert gateway.client.get(f"/jobs/{job.id}").json()["state"] == "expired"
    assert files(context, job) == 1


@pytest.mark.parametrize("started", [False, True])
def test_open_job_is_canceled_at_expiry(gateway: Gateway, context: GatewayContext, started: bool) -> None:
    job = short(context, 0.5)
    if started:
        context.jobs.claim(job.id, 3)
    until_gone(context, job)
    body = gateway.client.get(f"/jobs/{job.id}").json()
    assert body["state"] == "expired"
    assert body["error"]["code"] == "expired"
    assert context.redis.zscore(context.jobs.waiting_key("any"), job.id) is None


def test_recorded_but_unqueued_job_is_queued_by_another_gateway(context: GatewayContext) -> None:
    context.redis.delete(*queue_keys("any"))
    job, other = short(context, 60), short(context, 60)
    context.jobs.sent(other.id)
    queue_lost_jobs(context)
    assert messages(context.redis, "any") == []  # its gateway may still be enqueueing it
    context.redis.zadd(context.jobs.unsent, {job.id: time.time() - 1})
    for _ in range(2):
        queue_lost_jobs(context)
    [message] = messages(context.redis, "any")
    assert job.id in message


def test_two_gateways_share_due_tasks(context: GatewayContext) -> None:
    from service.api.background.schedule import due

    context.redis.zadd("things", {str(n): time.time() - 1 for n in range(20)})
    first, second = due(context.redis, "things", 60, 10), due(context.redis, "things", 60, 50)
    assert (len(first), len(second)) == (10, 10)
    assert not set(first) & set(second)
    assert due(context.redis, "things", 60, 50) == []
    context.redis.delete("things")


def test_expired_record_does_not_change(context: GatewayContext, jobs: JobStore) -> None:
    job = short(context, 60)
    jobs.cancel(job.id)
    expired = jobs.expire(job.id)
    assert expired is not None
    assert expired.state is State.EXPIRED
    changes: list[Any] = [jobs.expire(job.id), jobs.cancel(job.id), jobs.claim(job.id, 3)]
    assert changes == [None, None, None]
