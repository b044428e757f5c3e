"""Hostile names, ids and metadata cannot reach other records or files, or forge log lines."""

import io
import json
import secrets
import time
import zipfile
from typing import Any
from urllib.parse import quote

import pytest
from redis import Redis

from service.core.logs import configure_logs
from service.core.settings import Settings
from service.local.object_store import ObjectStore
from tests.conftest import redis_of
from tests.integration.service_processes import Gateway
from tests.security.caller import Caller

NAMES = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "..\\..\\windows\\system32",
    "file:///etc/passwd",
    "https://evil.example/model.pt",
    "a\r\nSet-Cookie: a=b",
    "a\nSET oflow:keys x\n",
    "a\0b",
    "*",
    "oflow:keys",
    "{{7*7}}${7*7}",
    "<script>alert(1)</script>",
    "'; DROP TABLE jobs; --",
    "\u2028\u202e\x1b[31m\x9b31m",
    "%s%n%x",
    "jobs",
    "a" * 3000,
]
ids = [ascii(name)[1:25] for name in NAMES]


def refused(response: Any) -> None:
    assert 400 <= response.status_code < 500, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("name", NAMES, ids=ids)
def test_hostile_job_id(mine: Caller, name: str) -> None:
    for path in ("", "/events", "/input", "/result"):
        refused(mine.send("GET", f"/jobs/{quote(name, safe='')}{path}"))
    refused(mine.send("DELETE", f"/jobs/{quote(name, safe='')}"))


@pytest.mark.parametrize("name", NAMES, ids=ids)
def test_hostile_upload_id(mine: Caller, any_model: str, name: str) -> None:
    response = mine.send("POST", "/reconstruct", json={"upload_id": name, "model": any_model})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("name", NAMES, ids=ids)
def test_hostile_options_and_query_parameters(mine: Caller, sample: bytes, any_model: str, name: str) -> None:
    file = {"file": ("a.npz", sample)}
    for options in ({"model": name}, {"model": any_model, "formats": name}, {"model": any_model, name: "1"}):
        refused(mine.send("POST", "/reconstruct", files=file, data=options))
    for query in ({"cursor": name}, {"state": name}, {"limit": name}):
        refused(mine.send("GET", "/jobs", params=query))


@pytest.mark.parametrize("name", NAMES, ids=ids)
def test_hostile_file_name(
    mine: Caller, sample: bytes, any_model: str, object_store: ObjectStore, name: str
) -> None:
    """The name of a single file is ignored; frame files must have valid names."""
    alone = mine.send("POST", "/reconstruct", files={"file": (name, sample)}, data={"model": any_model})
    assert alone.status_code == 202
    kept = object_store.client().list_objects_v2(
        Bucket=object_store.bucket, Prefix=f"jobs/{alone.json()['id']}/"
    )
    assert [item["Key"] for item in kept["Contents"]] == [f"jobs/{alone.json()['id']}/input"]
    frames = [("file", (part, sample)) for part in (name, "00000001.npz")]
    refused(mine.send("POST", "/reconstruct", files=frames, data={"model": any_model}))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(name.replace("\0", "\1"), sample)
    refused(
        mine.send(
            "POST", "/reconstruct", files={"file": ("a", archive.getvalue())}, data={"model": any_model}
        )
    )


@pytest.mark.parametrize("name", [n for n in NAMES if n.isascii() and n.isprintable() and len(n) < 255])
def test_hostile_idempotency_key(
    mine: Caller, yours: Caller, sample: bytes, any_model: str, settings: Settings, name: str
) -> None:
    before = _keys(redis_of(settings))
    form: dict[str, Any] = {"files": {"file": ("a.npz", sample)}, "data": {"model": any_model}}
    headers = {"Idempotency-Key": name}
    first, again, other = (
        who.send("POST", "/reconstruct", headers=headers, **form) for who in (mine, mine, yours)
    )
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    new = {key.split(":")[1] for key in _keys(redis_of(settings)) - before}
    kinds = {"job", "events", "idempotency", "waiting", "jobs", "stored", "open", "open-seconds", "rate"}
    due = {"sweep", "search", "drop-messages", "bring-forward"}  # of the gateway's rounds, at any time
    assert new <= kinds | due | {"turns", "priorities"}


def _keys(redis: Redis) -> set[str]:
    return set(redis.scan_iter("oflow:*"))


def test_other_redis_keys_are_not_jobs(mine: Caller, settings: Settings) -> None:
    """No job id maps to the Redis key of another record."""
    kinds = {key.split(":")[1]: key for key in _keys(redis_of(settings))}
    assert kinds.keys() >= {"job", "jobs", "keys", "models", "events", "expiry"}
    for key in kinds.values():
        for name in (key, key.removeprefix("oflow:"), key.removeprefix("oflow:job:") + ":x"):
            if "/" not in name:
                assert mine.send("GET", f"/jobs/{quote(name)}").status_code == 404


def test_metadata_is_returned_unchanged(mine: Caller, locked: Gateway, sample: bytes, any_model: str) -> None:
    sent = {name: [name, {"__proto__": name, "constructor": None}] for name in NAMES[:-1]}
    job = mine.submit(sample, model=any_model, metadata=json.dumps(sent))
    assert mine.send("GET", f"/jobs/{job['id']}").json()["metadata"] == sent
    assert mine.send("GET", "/jobs", params={"limit": 1}).headers["content-type"] == "application/json"
    assert "passwd" not in locked.client.get("/metrics").text


def test_link_previews_tell_nothing_where_keys_are_required(
    mine: Caller, locked: Gateway, sample: bytes, any_model: str
) -> None:
    job = mine.submit(sample, model=any_model, metadata='{"name": "secret project"}')
    browser = {"Accept": "text/html"}
    told = [locked.client.get(path, headers=browser).text for path in ("/", f"/?job={job['id']}")]
    assert told[0] == told[1]


def test_requests_cannot_forge_log_lines(locked: Gateway, mine: Caller) -> None:
    """Every log line remains a valid record of this service, whatever the request contains."""
    forged = json.dumps({"level": "ERROR", "message": "forged"})
    mark = secrets.token_hex(4)
    path = f"/jobs/{mark}" + quote(f'"}}\r\n{forged}\u2028\x1b[2J')
    mine.send("GET", path, headers={"traceparent": f"00-{forged}-01", "User-Agent": forged})
    locked.client.get("/jobs", headers={"Authorization": f"Bearer {forged}"})
    locked.client.request("GET" + "A" * 30, f"/{mark}")
    end = time.monotonic() + 10
    while sum(mark in line for line in _lines(locked)) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    for line in _lines(locked):
        record = json.loads(line)
        assert record["message"] != "forged"
        assert record["logger"].startswith(("service", "uvicorn")), record
        assert line.isprintable()


def _lines(gateway: Gateway) -> list[str]:
    return [line.split(" | ", 1)[1] for line in gateway.log.tail("gateway", 2000)]


def test_text_logs_escape_control_characters(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure_logs(settings.model_copy(update={"log_format": "text", "log_level": "info"}))
        logging.getLogger("service.x").info("a name: %s", "ü\n2030-01-01 ERROR forged\x1b[2J\u2028\x9b31m")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    (line,) = capsys.readouterr().out.split("\n")[:-1]
    assert line.endswith(r"a name: ü\n2030-01-01 ERROR forged\x1b[2J\u2028\x9b31m")


def test_metadata_size_is_limited(mine: Caller, sample: bytes, any_model: str) -> None:
    metadata = {"a": "b" * 20_000}
    form = mine.send(
        "POST",
        "/reconstruct",
        files={"file": ("a.npz", sample)},
        data={"model": any_model, "metadata": json.dumps(metadata)},
    )
    body = mine.send(
        "POST", "/reconstruct", json={"upload_id": "0" * 32, "model": any_model, "metadata": metadata}
    )
    for response in (form, body):
        assert (response.status_code, response.json()["errors"][0]["key"]) == (422, "metadata")
