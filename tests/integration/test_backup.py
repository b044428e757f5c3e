"""`oflow backup` of a running service, and `oflow restore` into another Redis and bucket."""

import hashlib
import io
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis

from service.api.background.tasks import queue_dropped_jobs, queue_lost_jobs
from service.api.backup.objects import path_of
from service.api.backup.records import read_records, write_records
from service.api.dependencies import GatewayContext
from service.api.keys import KeyStore
from service.core.jobs.options import Options
from service.core.jobs.record import Input, Job, State
from service.core.queue import queue_name
from service.core.settings import Settings
from tests.integration.acting_worker import CONTENT, finish
from tests.integration.service_processes import ANY_INPUT, Gateway, running


def place(server_env: dict[str, str], number: int) -> dict[str, str]:
    """The environment of a service with a Redis database and a bucket of its own."""
    url = urlsplit(server_env["OFLOW_REDIS_URL"])._replace(path=f"/{number}").geturl()
    return server_env | {"OFLOW_REDIS_URL": url, "OFLOW_S3_BUCKET": f"backup{number}", "OFLOW_AUTH": "keys"}


def context_of(environment: dict[str, str]) -> GatewayContext:
    names = {f"OFLOW_{field.upper()}": field for field in Settings.model_fields}
    return GatewayContext(Settings(**{names[name]: v for name, v in environment.items() if name in names}))  # type: ignore[arg-type]


@pytest.fixture
def places(server_env: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    found = place(server_env, 5), place(server_env, 6)
    for environment in found:
        context_of(environment).redis.flushdb()
    return found


def oflow(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "service.cli", *command]
    return subprocess.run(line, env=os.environ | environment, capture_output=True, text=True)


def add(context: GatewayContext, owner: str, content: bytes = b"points") -> Job:
    digest = hashlib.sha256(content).hexdigest()
    job = Job.new("any", Options(), Input(frames=2, points=32, bytes=6, sha256=digest), 3600, owner=owner)
    context.store.put(job.input_key, io.BytesIO(content), "application/octet-stream", job.expires_at)
    context.jobs.create(job)
    context.jobs.sent(job.id)
    return job


def test_a_service_comes_back_from_its_backup(
    places: tuple[dict[str, str], dict[str, str]], tmp_path: Path
) -> None:
    before, after = places
    context, folder = context_of(before), tmp_path / "backup"
    context.store.prepare()
    context.registry.announce(ANY_INPUT)
    context.registry.beat("somewhere:1", ANY_INPUT, 3600)
    key, text = KeyStore(context.redis).create("the lab")
    done, queued, claimed = (add(context, key.id) for _ in range(3))
    finish(context, done.id)
    assert context.jobs.claim(claimed.id, 3) is not None
    first = oflow(before, "backup", str(folder))
    assert first.returncode == 0, first.stderr
    assert folder.stat().st_mode & 0o077 == 0

    # Later: a job has been added, one is gone, and only what changed is fetched.
    late = add(context, key.id)
    context.store.delete(queued.input_key)
    again = oflow(before, "backup", str(folder))
    assert "and 1 new files" in again.stdout
    assert not (folder / "objects" / queued.input_key).exists()
    context.store.put(queued.input_key, io.BytesIO(b"points"), "application/octet-stream")
    oflow(before, "backup", str(folder))

    answer = oflow(after, "restore", str(folder))
    assert answer.returncode == 0, answer.stderr
    restored = context_of(after)
    assert restored.registry.workers() == {}, "beats are over"
    assert restored.registry.models().keys() == {"any"}
    assert not restored.redis.exists(restored.registry.loaded_key)
    assert restored.store.time_over(done.files_prefix, "input", timedelta()) == done.expires_at
    for job in (done, queued, claimed, late):
        assert restored.jobs.get(job.id) == context.jobs.get(job.id)
    ttl = [redis.pttl(context.jobs.key(done.id)) for redis in (context.redis, restored.redis)]
    assert abs(ttl[0] - ttl[1]) < 5000

    heads = [
        each.store.client.head_object(Bucket=each.store.bucket, Key=done.input_key)
        for each in (context, restored)
    ]
    assert heads[0]["Metadata"] == heads[1]["Metadata"] != {}
    assert heads[0]["ContentType"] == heads[1]["ContentType"]

    with running(Gateway(after)) as gateway:
        headers = {"Authorization": f"Bearer {text}"}
        result = gateway.client.get(f"/jobs/{done.id}/result?redirect=false", headers=headers)
        assert result.content == CONTENT
        listed = gateway.client.get("/jobs", headers=headers).json()["jobs"]
        assert {job["id"] for job in listed} == {done.id, queued.id, claimed.id, late.id}
    for task in (queue_lost_jobs, queue_dropped_jobs):
        task(restored)
    queues = restored.redis.keys(f"{queue_name('any')}*")  # one for each priority
    waiting = " ".join(str(restored.redis.lrange(queue, 0, -1)) for queue in queues)
    assert [job.id in waiting for job in (done, queued, claimed, late)] == [False, True, True, True]

    refused = oflow(after, "restore", str(folder))
    assert refused.returncode == 1
    assert refused.stderr == "This Redis knows 4 jobs already: restore into an empty one\n"
    missing = oflow(after, "restore", str(tmp_path))
    assert missing.returncode == 1
    assert "holds no complete backup: records.jsonl is missing" in missing.stderr
    assert (restored.jobs.get(claimed.id) or claimed).state is State.RUNNING


def test_every_type_of_key_is_kept(settings: Settings) -> None:
    url = urlsplit(settings.redis_url.get_secret_value())
    one, other = (
        Redis.from_url(url._replace(path=f"/{number}").geturl(), decode_responses=True) for number in (7, 8)
    )
    for redis in (one, other):
        redis.flushdb()
    one.set("oflow:string", "ä\n")
    one.set("oflow:brief", "x", ex=5)
    one.set("other:string", "x")
    one.hset("oflow:hash", mapping={"a": "1", "b": ""})
    one.sadd("oflow:set", "y", "x")
    one.zadd("oflow:zset", {"a": 1.5, "b": float("inf")})
    one.rpush("oflow:list", "2", "1")
    one.xadd("oflow:stream", {"event": "state"}, id="7-0")
    soon = int(datetime.now(UTC).timestamp()) + 1000
    one.expireat("oflow:hash", soon)
    lines = list(read_records(one))
    assert write_records(other, lines) == 6
    assert not other.exists("oflow:brief", "other:string")
    assert sorted(read_records(other)) == sorted(lines)
    assert other.expiretime("oflow:hash") == soon
    for redis in (one, other):
        redis.flushdb()


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    assert path_of(tmp_path, "jobs/1/mesh.glb") == tmp_path / "objects/jobs/1/mesh.glb"
    with pytest.raises(ValueError, match="no file of this service"):
        path_of(tmp_path, "../../outside")


def test_servers_that_do_not_answer_are_named(server_env: dict[str, str], tmp_path: Path) -> None:
    answer = oflow(server_env | {"OFLOW_REDIS_URL": "redis://127.0.0.1:1/0"}, "backup", str(tmp_path / "b"))
    assert answer.returncode == 1
    assert answer.stderr.startswith("The Redis in OFLOW_REDIS_URL does not answer: ")
