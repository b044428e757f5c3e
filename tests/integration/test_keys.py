"""API keys: management commands, hashing at rest, isolation and limits."""

import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from redis import Redis

from service.api.keys import KeyStore
from service.api.routes.events import RECHECK_SECONDS
from service.core.jobs.store import JobStore
from service.core.scope import Scope
from tests.integration.service_processes import Gateway, running

OFLOW = [sys.executable, "-m", "service.cli"]
FAR = "0" * 32


@pytest.fixture(scope="module")
def locked(server_env: dict[str, str]) -> Iterator[Gateway]:
    """A gateway that requires keys."""
    with running(Gateway(server_env | {"OFLOW_AUTH": "keys", "OFLOW_MAX_QUEUED": "1000"})) as process:
        yield process


@pytest.fixture(scope="module")
def redis(server_env: dict[str, str]) -> Redis:
    return Redis.from_url(server_env["OFLOW_REDIS_URL"], decode_responses=True)


@pytest.fixture(scope="module")
def keys(redis: Redis) -> KeyStore:
    return KeyStore(redis)


def with_key(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def submit(gateway: Gateway, text: str, file: bytes, **options: Any) -> httpx.Response:
    return gateway.client.post(
        "/reconstruct", files={"file": ("a.npz", file)}, data=options, headers=with_key(text)
    )


def command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OFLOW, "keys", *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


def test_keys_command_creates_lists_and_revokes(
    locked: Gateway, server_env: dict[str, str], redis: Redis
) -> None:
    created = command(server_env, "create", "the lab", "--rate-limit", "50")
    assert created.returncode == 0, created.stderr
    text = created.stdout.strip()
    key_id = text.split("_")[1]
    assert re.fullmatch(r"oflow_[0-9a-f]{12}_[0-9a-f]{64}", text)
    assert locked.client.get("/jobs", headers=with_key(text)).status_code == 200

    everything = " ".join(map(str, [*redis.hvals("oflow:keys"), *redis.keys()]))
    assert hashlib.sha256(text.encode()).hexdigest() in everything
    assert text.split("_")[2] not in everything
    listed = command(server_env, "list").stdout
    assert re.search(rf"^{key_id}  .*50/min 100 jobs  submit  active  the lab$", listed, re.MULTILINE)
    assert text.split("_")[2] not in listed

    assert command(server_env, "revoke", key_id).returncode == 0
    refused = locked.client.get("/jobs", headers=with_key(text))
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert "revoked" in command(server_env, "list").stdout
    unknown = command(server_env, "revoke", "nobody")
    assert unknown.returncode == 1
    assert "no key 'nobody'" in unknown.stderr


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Basic dXNlcjpwYXNz",
        "Bearer nonsense",
        f"Bearer oflow_{'0' * 12}_{'0' * 64}",
    ],
)
def test_requests_without_valid_key_are_refused(locked: Gateway, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method, path in (
        ("POST", "/reconstruct"),
        ("POST", "/uploads"),
        ("GET", "/jobs"),
        ("GET", f"/jobs/{FAR}"),
        ("GET", f"/jobs/{FAR}/events"),
        ("GET", f"/jobs/{FAR}/input"),
        ("GET", f"/jobs/{FAR}/result"),
        ("DELETE", f"/jobs/{FAR}"),
        ("GET", "/models"),
    ):
        response = locked.client.request(method, path, headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized"), (method, path)
        assert response.headers["www-authenticate"].startswith("Bearer")


def test_authentication_precedes_reading_the_body(locked: Gateway) -> None:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        while sent < 100 * 2**20:
            sent += 2**16
            yield bytes(2**16)

    response = locked.client.post("/reconstruct", content=body())
    assert response.status_code == 401
    assert response.headers["connection"] == "close"
    assert sent < 50 * 2**20  # the body was not read


def test_probes_and_documents_need_no_key(locked: Gateway) -> None:
    for path in ("/", "/livez", "/metrics", "/openapi.json", "/docs"):
        assert locked.client.get(path).status_code == 200, path
    assert locked.client.get("/readyz").status_code in (200, 503)
    document = locked.client.get("/openapi.json").json()
    assert document["security"] == [{"key": []}]
    open_to_all = {
        path for path, methods in document["paths"].items() if methods.get("get", {}).get("security") == []
    }
    assert open_to_all == {"/", "/livez", "/readyz", "/metrics"}


def test_a_rotated_key_keeps_the_jobs(
    locked: Gateway, server_env: dict[str, str], keys: KeyStore, any_model: str, sample: bytes
) -> None:
    old, text = keys.create("rotating", rate_limit=50)
    job_id = submit(locked, text, sample, model=any_model).json()["id"]
    rotated = command(server_env, "rotate", old.id, "--overlap-hours", "1")
    assert rotated.returncode == 0, rotated.stderr
    assert f"{old.id} expires in 1 h." in rotated.stderr
    new = rotated.stdout.strip()
    for each in (text, new):
        assert locked.client.get(f"/jobs/{job_id}", headers=with_key(each)).status_code == 200
    listed = locked.client.get("/jobs", headers=with_key(new)).json()["jobs"]
    assert [job["id"] for job in listed] == [job_id]
    policy = locked.client.get("/jobs", headers=with_key(new)).headers["ratelimit"]
    assert "r=45" in policy, "both keys count against one limit"

    again = command(server_env, "rotate", new.split("_")[1], "--overlap-hours", "0").stdout.strip()
    assert locked.client.get(f"/jobs/{job_id}", headers=with_key(new)).status_code == 401
    assert locked.client.delete(f"/jobs/{job_id}", headers=with_key(again)).status_code == 200
    assert command(server_env, "rotate", new.split("_")[1]).returncode == 1
    log = command(server_env, "audit").stdout
    assert re.search(rf"^\S+  create  {old.id}  submit  \S+@\S+  rotating$", log, re.MULTILINE)
    assert re.search(rf"^\S+  rotate  {old.id}  submit  \S+@\S+  rotating$", log, re.MULTILINE)
    assert re.search(rf"^{old.id} .* expires \d", command(server_env, "list").stdout, re.MULTILINE)
    assert text.split("_")[2] not in log


def test_keys_expire(locked: Gateway, keys: KeyStore) -> None:
    key, text = keys.create("brief", lifetime=timedelta(seconds=1.5))
    assert locked.client.get("/jobs", headers=with_key(text)).status_code == 200
    time.sleep(1.6)
    refused = locked.client.get("/jobs", headers=with_key(text))
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert not keys.is_active(key.id)
    assert not keys.is_active("nobody")


def test_key_for_the_jobs_of_a_lost_one(server_env: dict[str, str], keys: KeyStore) -> None:
    command = [*OFLOW, "keys", "create", "again", "--owner", "0123456789ab"]
    done = subprocess.run(command, env=server_env, capture_output=True, text=True, check=True)
    key = keys.find(done.stdout.strip())
    assert key is not None
    assert (key.name, key.owner) == ("again", "0123456789ab")


def test_scopes(locked: Gateway, keys: KeyStore, any_model: str, sample: bytes) -> None:
    owner, text = keys.create("owner")
    job_id = submit(locked, text, sample, model=any_model).json()["id"]
    _, reader = keys.create("reader", scope=Scope.READ, owner_id=owner.id)
    _, admin = keys.create("operator", scope=Scope.ADMIN)
    for each in (reader, admin):
        assert locked.client.get(f"/jobs/{job_id}", headers=with_key(each)).status_code == 200
    for refused in (
        submit(locked, reader, sample, model=any_model),
        locked.client.post("/uploads", headers=with_key(reader)),
        locked.client.delete(f"/jobs/{job_id}", headers=with_key(reader)),
    ):
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "may only read" in refused.json()["detail"]
    assert locked.client.get("/jobs", headers=with_key(admin)).json() == {"jobs": []}, "its own"
    assert locked.client.delete(f"/jobs/{job_id}", headers=with_key(admin)).json()["state"] == "canceled"


def test_an_event_stream_ends_when_its_key_is_revoked(
    locked: Gateway, keys: KeyStore, any_model: str, sample: bytes
) -> None:
    key, text = keys.create("streaming")
    job_id = submit(locked, text, sample, model=any_model).json()["id"]
    with locked.client.stream("GET", f"/jobs/{job_id}/events", headers=with_key(text)) as stream:
        lines = stream.iter_lines()
        assert next(lines)
        keys.revoke(key.id)
        began = time.monotonic()
        assert not [line for line in lines if "canceled" in line]
    assert time.monotonic() - began < 3 * RECHECK_SECONDS


def test_jobs_of_other_keys_are_not_found(
    locked: Gateway, keys: KeyStore, any_model: str, sample: bytes
) -> None:
    (_, mine), (_, yours) = keys.create("mine"), keys.create("yours")
    job_id = submit(locked, mine, sample, model=any_model).json()["id"]
    unknown = locked.client.get(f"/jobs/{FAR}", headers=with_key(yours)).json()
    for method, path in (
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/input"),
        ("GET", "/result"),
        ("DELETE", ""),
    ):
        response = locked.client.request(method, f"/jobs/{job_id}{path}", headers=with_key(yours))
        assert response.status_code == 404
        body = response.json() | {"trace_id": unknown["trace_id"]}
        assert body == unknown | {"detail": unknown["detail"].replace(FAR, job_id)}
    hidden = locked.client.head(f"/jobs/{job_id}/input", headers=with_key(yours))
    assert (hidden.status_code, hidden.content) == (404, b"")
    assert locked.client.get("/jobs", headers=with_key(yours)).json() == {"jobs": []}
    (listed,) = locked.client.get("/jobs", headers=with_key(mine)).json()["jobs"]
    assert (listed["id"], listed["state"]) == (job_id, "queued")


def test_idempotency_keys_are_scoped_to_their_owner(
    locked: Gateway, keys: KeyStore, any_model: str, sample: bytes
) -> None:
    created = set()
    for name in ("one", "two"):
        _, text = keys.create(name)
        response = locked.client.post(
            "/reconstruct",
            files={"file": ("a.npz", sample)},
            data={"model": any_model},
            headers=with_key(text) | {"Idempotency-Key": "1"},
        )
        created.add(response.json()["id"])
    assert len(created) == 2


def test_requests_are_rate_limited_per_key(locked: Gateway, keys: KeyStore) -> None:
    _, text = keys.create("hasty", rate_limit=5)
    for left in (4, 3, 2, 1, 0):
        response = locked.client.get(f"/jobs/{FAR}", headers=with_key(text))
        assert response.status_code == 404
        assert response.headers["ratelimit-policy"] == '"requests";q=5;w=60'
        assert re.fullmatch(rf'"requests";r={left};t=(60|59|58|57)', response.headers["ratelimit"])
    refused = locked.client.get("/jobs", headers=with_key(text))
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 50 < int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"].startswith('"requests";r=0;')
    _, other = keys.create("patient")
    assert locked.client.get("/jobs", headers=with_key(other)).status_code == 200


def test_open_jobs_are_limited_per_key_under_concurrency(
    locked: Gateway, keys: KeyStore, any_model: str, sample: bytes, redis: Redis, jobs: JobStore
) -> None:
    _, text = keys.create("greedy", open_jobs=3)
    with ThreadPoolExecutor(10) as pool:
        responses = list(pool.map(lambda _: submit(locked, text, sample, model=any_model), range(10)))
    accepted = [response for response in responses if response.status_code == 202]
    refused = [response for response in responses if response.status_code != 202]
    assert len(accepted) == 3
    for response in refused:
        assert (response.status_code, response.json()["code"]) == (429, "too_many_jobs")
        assert int(response.headers["retry-after"]) > 0
        assert response.headers["ratelimit"].startswith('"open-jobs";r=0, "requests";')
    counted = jobs.counters.read()["now", any_model, "queued"]
    assert counted == redis.zcard(jobs.waiting_key(any_model))  # refused jobs leave no trace
    locked.client.delete(f"/jobs/{accepted[0].json()['id']}", headers=with_key(text))
    assert submit(locked, text, sample, model=any_model).status_code == 202


def test_full_queue_refuses_new_jobs(
    server_env: dict[str, str], any_model: str, sample: bytes, redis: Redis
) -> None:
    waiting = int(redis.zcard(f"oflow:waiting:{any_model}"))
    process = Gateway(server_env | {"OFLOW_MAX_QUEUED": str(waiting + 2)})
    try:
        process.start()
        process.wait_until_ready(60)
        last = [process.submit(sample, model=any_model)["id"] for _ in range(2)][-1]
        form: dict[str, Any] = {"files": {"file": ("a.npz", sample)}, "data": {"model": any_model}}
        refused = process.client.post("/reconstruct", **form)
        assert (refused.status_code, refused.json()["code"]) == (503, "queue_full")
        assert int(refused.headers["retry-after"]) > 0
        process.client.delete(f"/jobs/{last}")
        assert process.client.post("/reconstruct", **form).status_code == 202
    finally:
        process.stop()
