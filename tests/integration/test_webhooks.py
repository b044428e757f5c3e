"""Webhooks: signatures, retries, and protection against requests to private networks."""

import asyncio
import base64
import hashlib
import hmac
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from service.api import webhooks
from service.api.background import webhook_delivery
from service.api.background.webhook_delivery import MAX_ATTEMPTS, WebhookDelivery, retry_delay
from service.api.dependencies import GatewayContext
from service.api.http import outbound
from service.api.webhooks import deliver, secret_text, sign
from service.core.jobs.options import Options
from service.core.jobs.record import Input, Job, State
from service.core.settings import Settings
from tests.integration.service_processes import Gateway, running

MASTER = "0123456789abcdef0123456789abcdef"


class Receiver(HTTPServer):
    """A webhook receiver that records requests and returns the statuses in `responses`, then 204."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.responses: list[int] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?for=me"

    def wait(self, count: int, seconds: float = 15) -> None:
        end = time.monotonic() + seconds
        while len(self.received) < count:
            assert time.monotonic() < end, f"{len(self.received)} webhooks came"
            time.sleep(0.05)


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append(({k.lower(): v for k, v in self.headers.items()}, body))
        status = self.server.responses.pop(0) if self.server.responses else 204
        self.send_response(status)
        if status == 307:
            self.send_header("Location", self.server.url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def webhook_gateway(server_env: dict[str, str]) -> Iterator[Gateway]:
    """A gateway that sends webhooks, including to loopback."""
    with running(
        Gateway(server_env | {"OFLOW_WEBHOOK_SECRET": MASTER, "OFLOW_WEBHOOK_LOOPBACK": "true"})
    ) as process:
        yield process


@pytest.fixture
def webhook_settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"webhook_secret": type(settings.redis_url)(MASTER), "webhook_loopback": True}
    )


def job_for(url: str) -> Job:
    source = Input(frames=2, points=32, bytes=3, sha256="0" * 64)
    return Job.new("any", Options(webhook_url=url), source, 600).ended(State.SUCCEEDED)


def test_ended_job_sends_one_signed_webhook(
    webhook_gateway: Gateway, any_model: str, sample: bytes, receiver: Receiver, webhook_settings: Settings
) -> None:
    job = webhook_gateway.submit(sample, model=any_model, webhook_url=receiver.url, metadata='{"take": 4}')
    time.sleep(1.2)
    assert receiver.received == []  # the job has not ended yet
    webhook_gateway.client.delete(f"/jobs/{job['id']}")
    receiver.wait(1)
    time.sleep(1.5)
    ((headers, body),) = receiver.received
    payload = json.loads(body)
    assert payload["type"] == "job.canceled"
    assert (payload["data"]["id"], payload["data"]["state"]) == (job["id"], "canceled")
    assert payload["data"]["metadata"] == {"take": 4}
    assert headers["content-type"] == "application/json"
    assert headers["host"] == f"127.0.0.1:{receiver.server_port}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 10
    # Verify as described by Standard Webhooks, with the secret given to the caller.
    secret = base64.b64decode(secret_text(webhook_settings).removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}"
    expected = base64.b64encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_event_is_what_the_job_was_when_it_ended(
    webhook_gateway: Gateway, any_model: str, sample: bytes, receiver: Receiver
) -> None:
    """Also when the job is deleted before the receiver answers, and when it is sent again on request."""
    receiver.responses = [503]
    job = webhook_gateway.submit(sample, model=any_model, webhook_url=receiver.url)
    href = f"/jobs/{job['id']}"
    webhook_gateway.client.delete(href)
    receiver.wait(1)

    def state_of(state: str) -> dict[str, Any]:
        ended = webhook_gateway.follow(job["id"], lambda found: found["webhook"]["state"] == state)
        return dict(ended["webhook"])

    end = time.monotonic() + 5
    while not (failed := state_of("pending")).get("last_error"):
        assert time.monotonic() < end
    assert failed["last_error"] == "the receiver answered 503"
    assert (failed["attempts"], "next_attempt_at" in failed) == (1, True)
    assert webhook_gateway.client.delete(href).json()["state"] == "expired"
    assert webhook_gateway.client.post(f"{href}/webhook").status_code == 202
    receiver.wait(2)
    assert state_of("delivered") == {"state": "delivered", "attempts": 1}
    (first, body), (second, again) = receiver.received
    assert body == again
    assert json.loads(again)["type"] == "job.canceled"
    assert first["webhook-id"] == second["webhook-id"]
    listed = webhook_gateway.client.get("/jobs").json()["jobs"]
    assert all("webhook" not in each for each in listed), "asked for by job alone"


def test_what_was_given_up_is_told_and_can_be_sent_again(
    webhook_gateway: Gateway, any_model: str, sample: bytes, receiver: Receiver, webhook_settings: Settings
) -> None:
    context = GatewayContext(webhook_settings)
    job = webhook_gateway.submit(sample, model=any_model, webhook_url=receiver.url)
    href = f"/jobs/{job['id']}"
    early = webhook_gateway.client.post(f"{href}/webhook")
    assert (early.status_code, early.json()["code"]) == (409, "no_webhook")
    receiver.responses = [500, 500]  # the first may come before the next line
    webhook_gateway.client.delete(href)
    context.redis.hset(context.jobs.webhooks.key(job["id"]), "attempts", MAX_ATTEMPTS - 1)
    ended = webhook_gateway.follow(job["id"], lambda found: found["webhook"]["state"] == "failed")
    assert ended["webhook"]["attempts"] == MAX_ATTEMPTS
    assert ended["webhook"]["last_error"] == "the receiver answered 500"
    etag = webhook_gateway.client.get(href).headers["etag"]
    receiver.responses.clear()
    assert webhook_gateway.client.post(f"{href}/webhook").json()["state"] == "pending"
    webhook_gateway.follow(job["id"], lambda found: found["webhook"]["state"] == "delivered")
    assert webhook_gateway.client.get(href).headers["etag"] != etag


def test_signature_matches_the_published_test_vector() -> None:
    """Test vector of the Standard Webhooks libraries."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_owner_has_its_own_signing_secret(webhook_settings: Settings) -> None:
    assert secret_text(webhook_settings, "one") != secret_text(webhook_settings, "two")
    assert MASTER not in secret_text(webhook_settings, "one")


@pytest.mark.parametrize(
    ("status", "delivered"), [(200, True), (204, True), (307, False), (404, False), (500, False)]
)
def test_only_2xx_counts_and_redirects_are_not_followed(
    webhook_settings: Settings, receiver: Receiver, status: int, delivered: bool
) -> None:
    receiver.responses = [status]
    failure = asyncio.run(deliver(webhook_settings, job_for(receiver.url)))
    assert failure == (None if delivered else f"the receiver answered {status}")
    assert len(receiver.received) == 1


def test_failed_deliveries_are_retried_with_backoff(
    webhook_settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = GatewayContext(webhook_settings)
    job = job_for(receiver.url).with_(state=State.QUEUED, ended_at=None)
    context.jobs.create(job)
    context.jobs.cancel(job.id)
    receiver.responses = [500, 503]
    monkeypatch.setattr(webhook_delivery, "FIRST_DELAY", 0.2)
    monkeypatch.setattr(webhook_delivery, "FACTOR", 2.0)

    async def send() -> None:
        delivery = WebhookDelivery()
        while context.redis.zscore(context.jobs.webhooks.schedule, job.id) is not None:
            await delivery.send_due(context)
            await asyncio.sleep(0.02)

    start = time.monotonic()
    asyncio.run(asyncio.wait_for(send(), 10))
    assert 0.6 < time.monotonic() - start < 4
    assert len(receiver.received) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    status = context.jobs.webhooks.status(job.id)
    assert status is not None
    assert (status.state, status.attempts, status.last_error) == ("delivered", 3, None)


def test_retries_end_after_the_last_attempt() -> None:
    delays = [retry_delay(attempt) for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert delays[-1] is None
    waits = [delay for delay in delays if delay is not None]
    assert waits == sorted(waits)
    assert 3600 < sum(waits) < 6 * 3600


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "https://127.0.0.1/", "https://10.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/",
     "http://example.org/", "https://user:pw@example.org/", "https://169.254.169.254/latest/meta-data", "https://0/",
     "https://127.1/", "https://0x7f.1/", "https://0177.0.0.1/", "https://2130706433/", "https://0xa9fea9fe/",
     "https://127.0.0.1./", "https://[::127.0.0.1]/", "https://[64:ff9b::a00:1]/", "https://[fe80::1%25eth0]/"],
)  # fmt: skip
def test_private_webhook_urls_are_refused(
    server_env: dict[str, str], any_model: str, sample: bytes, strict: Gateway, url: str
) -> None:
    response = strict.client.post(
        "/reconstruct", files={"file": ("a.npz", sample)}, data={"model": any_model, "webhook_url": url}
    )
    assert (response.status_code, response.json()["errors"][0]["key"]) == (422, "webhook_url")


@pytest.fixture(scope="module")
def strict(server_env: dict[str, str]) -> Iterator[Gateway]:
    with running(Gateway(server_env | {"OFLOW_WEBHOOK_SECRET": MASTER})) as process:
        yield process


def test_webhook_url_is_refused_without_a_secret(gateway: Gateway, any_model: str, sample: bytes) -> None:
    options = {"model": any_model, "webhook_url": "https://example.org/"}
    response = gateway.client.post("/reconstruct", files={"file": ("a.npz", sample)}, data=options)
    assert response.status_code == 422
    assert "OFLOW_WEBHOOK_SECRET" in response.json()["detail"]


class Names:
    """A fake resolver whose answers change between lookups, as in DNS rebinding."""

    def __init__(self, *responses: list[str]) -> None:
        self.responses = list(responses)
        self.lookups = 0

    def look_up(self, _host: str, _port: int) -> list[str]:
        self.lookups += 1
        return self.responses[min(self.lookups, len(self.responses)) - 1]


def connections(monkeypatch: pytest.MonkeyPatch, names: Names, settings: Settings, url: str) -> list[Any]:
    """The addresses a delivery tries to connect to; every connection fails."""
    tried: list[Any] = []

    async def connect(remote_host: str, remote_port: int, **_: object) -> None:
        tried.append((remote_host, remote_port))
        raise OSError("not in a test")

    monkeypatch.setattr(outbound, "look_up", names.look_up)
    monkeypatch.setattr("anyio.connect_tcp", connect)
    assert asyncio.run(deliver(settings, job_for(url)))
    return tried


def test_delivery_connects_to_the_checked_address(
    webhook_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(["93.184.216.34"], ["127.0.0.1"])
    strict = webhook_settings.model_copy(update={"webhook_loopback": False})
    tried = connections(monkeypatch, names, strict, "https://rebinding.example:8443/")
    assert names.lookups == 1
    assert tried == [("93.184.216.34", 8443)]


@pytest.mark.parametrize(
    "responses", [["10.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["169.254.169.254"], ["::ffff:10.0.0.1"]]
)
def test_host_resolving_to_a_private_address_is_refused(
    webhook_settings: Settings, monkeypatch: pytest.MonkeyPatch, responses: list[str]
) -> None:
    strict = webhook_settings.model_copy(update={"webhook_loopback": False})
    assert connections(monkeypatch, Names(responses), strict, "https://inside.example/") == []
    # Allowing loopback for tests allows no other private address.
    if "127.0.0.1" not in responses:
        assert connections(monkeypatch, Names(responses), webhook_settings, "https://inside.example/") == []


def test_plain_http_is_limited_to_loopback(
    webhook_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        connections(monkeypatch, Names(["93.184.216.34"]), webhook_settings, "http://outside.example/") == []
    )


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"hello\r\n\r\n", "the response broke off, or is not valid HTTP"),
        (b"", "the response broke off, or is not valid HTTP"),
        (None, "no connection to its host could be made"),
    ],
)
def test_what_went_wrong_is_told_in_words(
    webhook_settings: Settings, answer: bytes | None, failure: str
) -> None:
    """In `last_error` of the job's webhook, where other people's libraries tell of bytearrays."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"

        def respond() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer or b"")

        if answer is None:
            server.close()
        else:
            threading.Thread(target=respond).start()
        assert asyncio.run(deliver(webhook_settings, job_for(url))) == failure


def test_unresponsive_receiver_times_out(webhook_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        port = silent.getsockname()[1]
        assert asyncio.run(deliver(webhook_settings, job_for(f"http://127.0.0.1:{port}/")))
    assert time.monotonic() - start < 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_sni_is_sent_and_untrusted_certificates_are_refused(
    webhook_settings: Settings, receiver: Receiver, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    failure = asyncio.run(deliver(webhook_settings, job_for(f"https://localhost:{receiver.server_port}/")))
    assert failure == "the certificate of its host is not valid: self-signed certificate"
    assert names == ["localhost"]  # although connected by address
    assert receiver.received == []
