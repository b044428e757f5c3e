"""After a complete run with known secrets, none appears in logs, responses, metrics or records."""

import base64
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from service.api.webhooks import signing_secret
from service.core.settings import Settings
from service.local.object_store import ObjectStore
from service.local.redis_server import RedisServer
from tests.conftest import redis_of
from tests.integration.service_processes import Gateway, Worker, running

MASTER = secrets.token_hex(24)
OFLOW = [sys.executable, "-m", "service.cli"]


class Run:
    """Everything recorded while the service ran: responses, log lines and the contents of Redis."""

    def __init__(self) -> None:
        self.responses: list[str] = []
        self.lines: list[str] = []
        self.records = b""
        self.secrets: dict[str, str] = {}

    def note(self, answer: httpx.Response) -> None:
        answer.read()
        self.responses.append(f"{answer.request.url} {answer.status_code} {answer.headers}\n{answer.text}")


@pytest.fixture(scope="module")
def run(
    server_env: dict[str, str],
    settings: Settings,
    object_store: ObjectStore,
    redis_server: RedisServer,
    sample: bytes,
) -> Run:
    run = Run()
    environment = server_env | {
        "OFLOW_AUTH": "keys",
        "OFLOW_LOG_LEVEL": "debug",  # the most verbose level
        "OFLOW_LOG_FORMAT": "json",
        "OFLOW_WEBHOOK_SECRET": MASTER,
    }
    made = subprocess.run(
        [*OFLOW, "keys", "create", "the lab"], env=environment, capture_output=True, text=True, check=True
    )
    key = made.stdout.strip()
    owner = key.split("_")[1]
    signing = signing_secret(
        settings.model_copy(update={"webhook_secret": type(settings.redis_url)(MASTER)}), owner
    )
    run.secrets = {
        "the key": key.split("_")[2],
        "the secret of the object store": object_store.secret_access_key,
        "the password of Redis": str(urlsplit(redis_server.url).password),
        "the secret of webhooks": MASTER,
        "what the key's webhooks are signed with": base64.b64encode(signing).decode(),
    }
    assert (
        run.secrets["what the key's webhooks are signed with"] in made.stderr
    )  # printed once, when the key is created
    with ExitStack() as stack:
        gateway = stack.enter_context(running(Gateway(environment)))
        worker = stack.enter_context(running(Worker(environment), 120))
        _use(run, gateway, key, sample)
        _use_wrongly(run, gateway, key, sample)
        run.lines += subprocess.run(
            [*OFLOW, "keys", "list"], env=environment, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        worker.kill()  # returning the second job would take seconds
        gateway.stop()
        for process in (gateway, worker):
            run.lines += process.log.tail(process.name, 100_000)
    wrong = {
        "OFLOW_S3_SECRET_ACCESS_KEY": MASTER,
        "OFLOW_REDIS_URL": redis_server.url.replace(run.secrets["the password of Redis"], "wrong"),
    }
    run.lines += _start_in_vain(run, environment | wrong, key)
    run.records = b"".join(_records(settings)) + b"".join(
        file.read_bytes() for file in Path(redis_server._directory or "").rglob("*") if file.is_file()
    )
    return run


def _use(run: Run, gateway: Gateway, key: str, sample: bytes) -> None:
    """A job from upload to download, with an undeliverable webhook."""
    with _client(run, gateway, {"Authorization": f"Bearer {key}"}) as client:
        options: dict[str, Any] = {"resolution": "32", "webhook_url": "https://hook.invalid/in?for=me"}
        form: dict[str, Any] = {"files": {"file": ("a.npz", sample)}, "data": options}
        job = client.post("/reconstruct", headers={"Idempotency-Key": "one"}, **form).json()["id"]
        end = time.monotonic() + 120
        while (
            state := client.get(f"/jobs/{job}", headers={"Prefer": "wait=5"}).json()["state"]
        ) != "succeeded":
            assert time.monotonic() < end, state
        for path in ("", "/events", "/input", "/result?redirect=false", "/result"):
            client.get(f"/jobs/{job}{path}")
        upload = client.post("/uploads").json()
        httpx.post(upload["url"], data=upload["fields"], files={"file": ("a", sample)}, trust_env=False)
        second = client.post("/reconstruct", json={"upload_id": upload["upload_id"], "resolution": 32}).json()
        client.delete(f"/jobs/{second['id']}")
        for path in ("/jobs", "/models", "/metrics", "/readyz", "/openapi.json", "/"):
            client.get(path)
        client.delete(f"/jobs/{job}")


def _use_wrongly(run: Run, gateway: Gateway, key: str, sample: bytes) -> None:
    """Misplaced keys, and requests that cause errors."""
    with _client(run, gateway, {}) as client:
        for scheme in (f"Basic {key}", key, f"Bearer {key}x", f"Bearer {key[:-1]}", f"Bearer  {key} {key}"):
            client.get("/jobs", headers={"Authorization": scheme})
        right = {"Authorization": f"bearer {key}"}
        client.post(
            "/reconstruct",
            content=b"--x\r\nnonsense",
            headers=right | {"Content-Type": "multipart/form-data; boundary=x"},
        )
        client.post("/reconstruct", content=b"{", headers=right | {"Content-Type": "application/json"})
        client.post("/reconstruct", headers=right, files={"file": ("a.npz", b"PK\3\4" + sample[:2000])})
        client.get("/jobs", headers=right, params={"limit": "many"})
        client.put("/jobs", headers=right)


def _start_in_vain(run: Run, environment: dict[str, str], key: str) -> list[str]:
    """Start a gateway with wrong credentials for Redis and the object store."""
    with running(Gateway(environment)) as gateway:
        with _client(run, gateway, {"Authorization": f"Bearer {key}"}) as client:
            for path in ("/readyz", "/jobs", "/metrics"):
                client.get(path)
            assert client.post("/reconstruct", files={"file": ("a.npz", b"")}).status_code >= 400
        gateway.stop()
        return gateway.log.tail("gateway", 100_000)


def _client(run: Run, gateway: Gateway, headers: dict[str, str]) -> httpx.Client:
    client = httpx.Client(base_url=gateway.client.base_url, headers=headers, trust_env=False, timeout=60)
    client.event_hooks = {"response": [run.note]}
    return client


def _records(settings: Settings) -> Iterator[bytes]:
    """All values in Redis, whatever their type."""
    redis = redis_of(settings)
    raw: Any = redis.from_url(settings.redis_url.get_secret_value(), decode_responses=False)  # bytes, always
    for name in raw.scan_iter("*"):
        yield name + b" " + (raw.dump(name) or b"")
        if raw.type(name) == b"string":
            yield raw.get(name)  # dumps compress long strings
        elif raw.type(name) == b"hash":
            yield b" ".join(raw.hvals(name))


def forms(secret: str) -> list[bytes]:
    """Possible encodings of a secret embedded in other text."""
    plain = secret.encode()
    found = {plain, quote(secret).encode(), json.dumps(secret)[1:-1].encode(), plain.hex().encode()}
    # In base64 it can start at three offsets.
    found |= {base64.b64encode(b"x" * shift + plain)[4 * bool(shift) : -4] for shift in range(3)}
    return sorted(found)


def test_run_covers_all_outputs(run: Run) -> None:
    """Otherwise finding no secret would prove nothing."""
    text = "\n".join(run.responses)
    for expected in (
        " 202 ",
        " 307 ",
        " 401 ",
        " 503 ",
        "event: state",
        '"state":"succeeded"',
        "oflow_jobs_total",
        "x-amz-signature",
    ):
        assert expected in text, expected
    log = "\n".join(run.lines)
    for expected in (
        "service.access",
        "succeeded in",
        "webhook of job",
        "worker.serving.runner",
        "object store is not ready (reported by /readyz)",
        "queue_unavailable",
    ):
        assert expected in log, expected
    assert sum('"message": "Started server process' in line for line in run.lines) == 2  # the log is complete
    assert b'"metadata"' in run.records
    assert run.records.count(b"oflow:") > 10
    assert len(run.secrets) == len(set(run.secrets.values())) == 5


@pytest.mark.parametrize("place", ["responses", "lines", "records"])
def test_no_secret_is_leaked(run: Run, place: str) -> None:
    kept: Any = getattr(run, place)
    text = kept if isinstance(kept, bytes) else "\n".join(kept).encode()
    found = [name for name, secret in run.secrets.items() if any(form in text for form in forms(secret))]
    assert found == []


def test_presigned_urls_are_not_logged(run: Run) -> None:
    assert any("X-Amz-Signature=" in answer for answer in run.responses)
    assert not [line for line in run.lines if "X-Amz-Signature=" in line]
    assert not [line for line in run.lines if "hook.invalid/" in line]  # only the host is logged


def test_secret_search_detects_encoded_secrets() -> None:
    secret = 'p+ss/w"rd-' + MASTER
    for shift in range(3):
        hidden = base64.b64encode(b"-" * shift + f":{secret}@there".encode())
        assert any(form in hidden for form in forms(secret)), shift
    assert any(form in json.dumps({"a": secret}).encode() for form in forms(secret))
    assert any(form in quote(secret).encode() for form in forms(secret))
