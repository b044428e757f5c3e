"""Redis loses its data while the service runs: it accepts jobs again, and nothing is left behind."""

import hashlib
import io
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from service.api.background import lost_data
from service.api.background.lost_data import LossDetector, MessageSearch, delete_orphans
from service.api.background.tasks import queue_lost_jobs
from service.api.dependencies import GatewayContext
from service.core.jobs.options import RETENTION_LIMIT, Options
from service.core.jobs.record import COPY, Input, Job, State
from service.core.jobs.results import Fit, Mesh, Result
from service.core.jobs.stored import dump
from service.core.queue import queue_name
from service.core.settings import Settings
from service.local.log import MergedLog
from service.local.object_store import ObjectStore
from service.local.redis_server import RedisServer
from service.local.stack import service_environment
from tests.integration.service_processes import ANY_INPUT, Gateway, Worker, running
from tests.suites.load.small_model import write_small_model

SMALL = {"model": "small", "resolution": 32, "refine": "off"}
RESULT = Result(
    files=[], mesh=Mesh(vertices=3, faces=1, frames=2, watertight=False), fit=Fit(mean=[], p95=[]), timings={}
)
SOURCE = Input(frames=2, points=32, bytes=3, sha256="0" * 64)


@dataclass
class Stack:
    redis: RedisServer
    directory: Path  # of Redis
    gateway: Gateway
    worker: Worker

    def until_accepted(self, sample: bytes, seconds: float = 30) -> str:
        """Submit a job until it is accepted; returns its id."""
        end, files = time.monotonic() + seconds, {"file": ("a.npz", sample)}
        while (
            answer := self.gateway.client.post("/reconstruct", files=files, data=SMALL)
        ).status_code != 202:
            assert answer.status_code == 503, answer.text
            assert time.monotonic() < end, answer.text
            time.sleep(0.1)
        return str(answer.json()["id"])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, object_store: ObjectStore) -> Iterator[Stack]:
    """A gateway and a worker with a Redis of their own."""
    directory = tmp_path_factory.mktemp("lost")
    config, checkpoint = write_small_model(directory)
    server = RedisServer(directory / "redis", MergedLog(sys.__stderr__ or sys.stderr))
    environment = service_environment(server.url, object_store) | {
        "OFLOW_MODEL": str(config),
        "OFLOW_CHECKPOINT": str(checkpoint),
        "OFLOW_VISIBILITY_TIMEOUT_SECONDS": "4",
    }
    with (
        running(server, 20),
        running(Gateway(environment)) as gateway,
        running(Worker(environment), 120) as worker,
    ):
        yield Stack(server, directory / "redis", gateway, worker)


def test_service_recovers_from_an_empty_redis(stack: Stack, sample: bytes) -> None:
    first = stack.until_accepted(sample)
    assert stack.gateway.follow(first)["state"] == "succeeded"
    started = stack.worker.pid
    with Redis.from_url(stack.redis.url) as redis:  # connections stay open
        redis.flushall()
    assert stack.gateway.follow(stack.until_accepted(sample))["state"] == "succeeded"
    stack.redis.kill()
    shutil.rmtree(stack.directory / "appendonlydir")
    stack.redis.start()
    stack.redis.wait_until_ready()
    job_id = stack.until_accepted(sample, 60)
    assert stack.gateway.follow(job_id)["state"] == "succeeded"
    end = time.monotonic() + 10
    while (answer := stack.gateway.client.get(f"/jobs/{first}")).status_code == 404:
        assert "lost by the server" in answer.json()["detail"]
        assert time.monotonic() < end, "the record of a finished job was not restored"
        time.sleep(0.1)
    job = answer.json()
    assert (job["state"], job["progress"]["percent"]) == ("succeeded", 100)
    assert job["result"]["provenance"]["model"] == "small"
    file = stack.gateway.client.get(f"/jobs/{first}/result?redirect=false").content
    assert hashlib.sha256(file).hexdigest() == job["result"]["files"][0]["sha256"]
    assert first in [listed["id"] for listed in stack.gateway.client.get("/jobs").json()["jobs"]]
    [*_, last] = stack.gateway.client.get(f"/jobs/{first}/events").text.strip().split("\n\n")
    assert '"state":"succeeded"' in last
    assert stack.gateway.client.get("/readyz").status_code == 200
    assert stack.worker.pid == started
    assert stack.worker.is_running
    lines = stack.gateway.client.get("/metrics").text.splitlines()
    assert "oflow_redis_data_losses_total 1.0" in lines  # of the data that is there now


@pytest.fixture
def context(settings: Settings) -> Iterator[GatewayContext]:
    """That of a gateway with an empty database and a bucket of its own, which no running one sees."""
    url = settings.redis_url.get_secret_value().removesuffix("/0") + "/6"
    own = {"redis_url": type(settings.redis_url)(url), "s3_bucket": "lost-data"}
    context = GatewayContext(settings.model_copy(update=own))
    context.redis.flushdb()
    context.store.prepare()
    yield context
    context.redis.flushdb()


def test_losses_are_counted_once(context: GatewayContext) -> None:
    gateways = [LossDetector(), LossDetector()]
    before = context.jobs.counters.read().get(("data_losses",), 0)
    for gateway in gateways:
        gateway.check(context)
    assert context.jobs.counters.read().get(("data_losses",), 0) == before
    context.redis.delete("oflow:mark")
    for gateway in gateways * 2:
        gateway.check(context)
    assert context.jobs.counters.read()["data_losses",] == before + 1


def stored(context: GatewayContext, name: str, expires_at: datetime | None) -> Job:
    job = Job.new("any", Options(), SOURCE, 600)
    context.store.put(f"{job.files_prefix}{name}", io.BytesIO(b"abc"), "text/plain", expires_at)
    context.store.put(job.result_key("mesh.glb"), io.BytesIO(b"abc"), "text/plain")
    return job


def test_files_without_a_record_are_deleted_in_time(
    context: GatewayContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    over, later = now - timedelta(hours=1), now + timedelta(hours=1)
    recorded, orphan, young, bare = (
        stored(context, *file) for file in (("input", over), ("input", over), ("input", later), ("x", None))
    )
    context.jobs.create(recorded)
    context.store.put("uploads/lost", io.BytesIO(b"abc"), "text/plain")

    def left() -> list[bool]:
        prefixes = [job.files_prefix for job in (recorded, orphan, young, bare)]
        return [context.store.time_over(prefix, "", timedelta()) is not None for prefix in prefixes]

    delete_orphans(context)
    assert left() == [True, False, True, True]
    assert context.store.size("uploads/lost") == 3

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return now + timedelta(seconds=RETENTION_LIMIT + 3600)

    monkeypatch.setattr(lost_data, "datetime", Later)
    delete_orphans(context)
    assert left() == [True, False, True, True], "once an hour"
    context.redis.delete("oflow:sweep")
    delete_orphans(context)
    assert left() == [True, False, False, False]
    assert context.store.size("uploads/lost") is None
    context.jobs.cancel(recorded.id)
    context.store.delete_all(recorded.files_prefix)


def test_only_finished_jobs_that_have_not_expired_are_restored(context: GatewayContext) -> None:
    def copied(keep_seconds: int, change: Callable[[Job], Job], **changed: Any) -> Job:
        job = Job.new("any", Options(), SOURCE, keep_seconds, owner="someone").with_(attempt=2)
        text = dump(change(job).with_(**changed))
        context.store.put(job.result_key(COPY), io.BytesIO(text.encode()), "application/json")
        return job

    kept = copied(600, lambda job: job.succeeded(RESULT))
    over = copied(-60, lambda job: job.succeeded(RESULT))
    running = copied(600, lambda job: job.with_(state=State.RUNNING))
    of_another = copied(600, lambda job: job.succeeded(RESULT), id="0" * 32)
    broken = Job.new("any", Options(), SOURCE, 600).with_(attempt=1)
    for key in (broken.result_key(COPY), kept.with_(attempt=10).result_key(COPY)):
        context.store.put(key, io.BytesIO(b"\xff{"), "application/json")
    delete_orphans(context)
    restored = context.jobs.get(kept.id)
    assert restored is not None
    assert (restored.state, restored.owner, restored.result) == (State.SUCCEEDED, "someone", RESULT)
    assert [job.id for _, job in context.jobs.newest("someone", None, 10)] == [kept.id]
    assert context.redis.zscore(context.jobs.expiry, kept.id) == restored.expires_at.timestamp()
    for job in (over, running, of_another, broken):
        assert context.jobs.get(job.id) is None
    context.jobs.expire(kept.id)
    context.jobs.restore(restored)
    found = context.jobs.get(kept.id)
    assert found is not None
    assert found.state is State.EXPIRED, "a record that is there stays"
    for job in (kept, over, running, of_another, broken):
        context.store.delete_all(job.files_prefix)


def test_expiry_is_kept_with_large_files(context: GatewayContext) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    context.store.put("jobs/large/input", io.BytesIO(bytes(6 * 2**20)), "text/plain", at)
    assert context.store.time_over("jobs/large/", "input", timedelta()) == at
    context.store.delete_all("jobs/large/")


def test_waiting_job_without_a_message_is_queued_again(context: GatewayContext) -> None:
    model, queue = "searched", queue_name("searched")
    context.registry.announce(ANY_INPUT.model_copy(update={"name": model}))
    owners = ("one", "two", "three")  # with one job each, so that all have the same priority
    kept, taken, lost = (Job.new(model, Options(), SOURCE, 600, owner=owner) for owner in owners)
    for job in (kept, taken, lost):
        context.jobs.create(job)
        context.redis.zadd(context.jobs.waiting_key(model), {job.id: time.time() - 100})
    context.queue.push(taken)
    context.redis.hset("unacked", "tag", str(context.redis.rpop(queue)))
    context.queue.push(kept)
    search = MessageSearch()
    for expected in (1, 2, 2):  # at first it may only be on its way
        search.run(context)
        queue_lost_jobs(context)
        assert context.redis.llen(queue) == expected
        context.redis.delete("oflow:search")
    assert lost.id in str(context.redis.lrange(queue, 0, -1))
    for job in (kept, taken, lost):
        context.jobs.cancel(job.id)
    context.redis.delete(queue)
    context.redis.hdel("unacked", "tag")
    context.redis.hdel(context.registry.models_key, model)
