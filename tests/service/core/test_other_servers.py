"""Servers other than those of the tests: buckets of other regions, stores without checksums, TLS."""

import io
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.stub import Stubber
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from service.core import redis_version
from service.core.object_store import PART_BYTES, ObjectStore
from service.core.queue import celery_app
from service.core.redis_version import require_version, too_old
from service.core.settings import Settings
from service.local.ports import LOOPBACK
from service.local.redis_server import RedisServer


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_bucket_is_created_in_its_region(settings: Settings, region: str) -> None:
    store = ObjectStore(settings.model_copy(update={"s3_region": region}))
    place: dict[str, Any] = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    with Stubber(store.client) as stub:
        stub.add_client_error("head_bucket", http_status_code=404)
        stub.add_response(
            "create_bucket", {}, {"Bucket": store.bucket} | (place if region != "us-east-1" else {})
        )
        stub.add_client_error("put_bucket_lifecycle_configuration", "NotImplemented", http_status_code=501)
        store.prepare()
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("version", "fits"), [("6.2.14", False), ("7.0.15", True), ("7.2.4", True), ("10.0.0", True), ("?", True)]
)
def test_old_redis_is_named(version: str, fits: bool) -> None:
    assert (too_old(version) is None) is fits
    if not fits:
        assert too_old(version) == "Redis 6.2.14 is too old: version 7.0 or later is wanted, or Valkey"


def test_gateway_does_not_start_with_an_old_redis(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_version(settings)  # the one of the tests
    monkeypatch.setattr(redis_version, "OLDEST", (99, 0))
    with pytest.raises(SystemExit, match=r"OFLOW_REDIS_URL: Redis .* is too old"):
        require_version(settings)
    require_version(
        settings.model_copy(update={"redis_url": type(settings.redis_url)("redis://127.0.0.1:1/0")})
    )


class Answer(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.getvalue()


def test_files_are_sent_without_checksum_headers(settings: Settings) -> None:
    """Some stores answer 501 to them; each file has a SHA-256 in its record."""
    store, sent = ObjectStore(settings), []

    def answer(request: Any, **_: Any) -> Any:
        sent.append({name.lower(): value for name, value in request.headers.items()})
        content = b"<R><UploadId>1</UploadId><ETag>1</ETag></R>"
        return AWSResponse(request.url, 200, HTTPHeaders.from_dict({"ETag": '"1"'}), Answer(content))

    for client in (store.client, store._sender):
        client.meta.events.register("before-send.s3", answer)
    for size in (1000, PART_BYTES + 1):
        store.put("jobs/1/input", io.BytesIO(bytes(size)), "text/plain")
    assert len(sent) == 5  # a small file; start, two parts and end of a large one
    for headers in sent:
        assert not [name for name in headers if "checksum" in name or "trailer" in name]
        assert b"aws-chunked" not in str(headers.get("content-encoding", "")).encode()


class Stranger:
    """A TLS server that passes everything on to Redis, and keeps what it has seen."""

    def __init__(self, folder: Path, name: str, redis_port: int) -> None:
        self.certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {key} -out {self.certificate}"
        subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={name}"]
        subprocess.run([*command.split(), *subject], check=True, capture_output=True)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate, key)
        self._redis_port = redis_port
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = self._listener.getsockname()[1]
        self.seen = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
                outer = self._context.wrap_socket(raw, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            inner = socket.create_connection((LOOPBACK, self._redis_port))
            for ends in ((outer, inner), (inner, outer)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(2**16):
                self.seen += data
                sink.sendall(data)
        except OSError:
            pass

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module", params=["IP:127.0.0.1", "DNS:somebody.example"])
def stranger(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stranger]:
    stranger = Stranger(tmp_path_factory.mktemp("tls"), request.param, redis_server.port)
    yield stranger
    stranger.close()


@pytest.mark.parametrize("known", [False, True])
def test_records_and_queue_verify_certificates(stranger: Stranger, settings: Settings, known: bool) -> None:
    """Both send the password only to a server whose certificate is known and names it."""
    password = settings.redis_url.get_secret_value().split("@")[0].rsplit(":", 1)[1]
    query = f"?ssl_ca_certs={stranger.certificate}" if known else ""
    url = f"rediss://:{password}@{LOOPBACK}:{stranger.port}/0{query}"
    app = celery_app(settings.model_copy(update={"broker_url": type(settings.redis_url)(url)}))
    accepted = known and "127.0.0.1" in stranger.certificate.name
    stranger.seen = b""
    with Redis.from_url(url, socket_timeout=3, retry=None) as redis, app.connection() as queue:
        connection: Any = queue
        if accepted:
            assert redis.ping()
            assert connection.default_channel.client.ping()
            return
        with pytest.raises(RedisConnectionError, match=r"(?i)certificate"):
            redis.ping()
        with pytest.raises((OperationalError, RedisConnectionError), match=r"(?i)certificate"):
            connection.connect()
    assert password.encode() not in stranger.seen


def test_amqp_broker_is_verified(settings: Settings) -> None:
    url = type(settings.redis_url)("amqps://u:p@rabbit.example//")
    app = celery_app(settings.model_copy(update={"broker_url": url}))
    options: Any = app.conf.broker_use_ssl
    assert options["cert_reqs"] is ssl.CERT_REQUIRED
    connection: Any = app.connection()
    assert connection.transport.client.ssl == options
