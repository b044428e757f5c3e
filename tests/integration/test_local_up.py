"""`python -m service.local up` with a real worker: merged log, restarts, clean shutdown."""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from service.local.errors import LocalStackError
from service.local.log import MergedLog
from service.local.ports import LOOPBACK, free_ports
from service.local.redis_server import RedisServer
from service.local.stack import LocalStack, model_settings
from tests.integration.service_processes import command_of

UP = [sys.executable, "-m", "service.local", "up"]


class Stack:
    """A running `up` command."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log

    @property
    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def children(self, text: str) -> list[psutil.Process]:
        """The direct children with this text in their command line."""
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if text in command_of(child)]

    def get(self, path: str, key: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.get(f"http://{LOOPBACK}:{self.port}{path}", headers=headers, trust_env=False)


@contextmanager
def running(directory: Path, *options: str, **environment: str) -> Iterator[Stack]:
    [port] = free_ports(1)
    log = directory / "up.log"
    with log.open("w") as output:
        command = [*UP, "--port", str(port), "--data", str(directory / "data"), *options]
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | environment
        )
    stack = Stack(process, port, log)
    try:
        wait(lambda: "ready in" in log.read_text() or process.poll() is not None, 120)
        assert process.poll() is None, log.read_text()
        yield stack
    finally:
        family = stack.family if process.poll() is None else []
        process.kill()
        process.wait()
        psutil.wait_procs(family, timeout=5)


def wait(condition: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.05)


def refused(*arguments: str) -> str:
    """The error message of an `up` command that refuses to start."""
    ended = subprocess.run([*UP, *arguments], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    return " ".join(ended.stderr.split())


def test_up_restarts_workers_hides_secrets_and_stops_on_ctrl_c(tmp_path: Path) -> None:
    with running(tmp_path) as stack:
        assert stack.get("/docs").status_code == 200
        assert f"http://{LOOPBACK}:{stack.port}/docs" in stack.log.read_text()
        for process in stack.family:
            ips = {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
            assert ips <= {LOOPBACK}, process.cmdline()

        environment = stack.children("-m service")[0].environ()
        password = environment["OFLOW_REDIS_URL"].split(":")[2].split("@")[0]
        commands = [command_of(process) for process in psutil.process_iter()]
        assert not any(password in c or environment["OFLOW_S3_SECRET_ACCESS_KEY"] in c for c in commands)
        assert password not in stack.log.read_text()

        [worker] = stack.children("worker serve")
        whole_worker = [worker, *worker.children(recursive=True)]
        assert len(whole_worker) > 1
        worker.kill()
        wait(lambda: any(new.pid != worker.pid for new in stack.children("worker serve")), 10)
        assert psutil.wait_procs(whole_worker, timeout=2)[1] == []
        assert "worker was killed by SIGKILL; restarting in" in stack.log.read_text()
        wait(lambda: stack.get("/readyz").status_code == 200, 60)

        family = stack.family
        stack.process.send_signal(signal.SIGINT)
        assert stack.process.wait(30) == 0
        assert psutil.wait_procs(family, timeout=2)[1] == []


def test_up_keeps_its_data_and_leaves_no_process_when_killed(tmp_path: Path) -> None:
    mark = secrets.token_hex(8)
    with running(tmp_path) as stack:
        with redis_of(stack) as client:
            client.set("mark", mark)
        port = str(stack.port)
        assert f"Port {port} on {LOOPBACK} is already in use" in refused("--port", port)
        other = str(free_ports(1)[0])
        assert "is in use by another stack" in refused("--port", other, "--data", str(tmp_path / "data"))

        family = stack.family
        assert len(family) >= 6  # Redis, store, gateway, worker and its child, reaper
        stack.process.kill()
        assert psutil.wait_procs(family, timeout=5)[1] == []
    # Again, with keys and another model; SIGTERM ends all of it.
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    settings = {"OFLOW_AUTH": "keys", "TMPDIR": str(temporary)}
    with running(tmp_path, "--model", "bodies", **settings) as stack:
        with redis_of(stack) as client:
            assert client.get("mark") == mark.encode()
        wait(lambda: "first key" in stack.log.read_text(), 5)
        [key] = re.findall(r"oflow_[0-9a-f]{12}_[0-9a-f]{64}", stack.log.read_text())
        assert stack.get("/models").status_code == 401
        assert [model["name"] for model in stack.get("/models", key).json() if model["default"]] == ["bodies"]
        family = stack.family
        stack.process.send_signal(signal.SIGTERM)
        stack.process.send_signal(signal.SIGTERM)  # an impatient one
        assert stack.process.wait(30) == 0
        assert psutil.wait_procs(family, timeout=2)[1] == []
        assert list(temporary.iterdir()) == []


def test_up_takes_a_checkpoint(tmp_path: Path) -> None:
    weights = tmp_path / "own.pt"
    weights.touch()
    assert model_settings("configs/own.yaml", str(weights)) == {
        "OFLOW_MODEL": str(Path("configs/own.yaml").resolve()),
        "OFLOW_DEFAULT_MODEL": "own",
        "OFLOW_CHECKPOINT": str(weights),
    }
    assert model_settings(None, None) == {}
    assert "There is no checkpoint" in refused("--checkpoint", str(tmp_path / "none.pt"))


def test_stack_uses_external_redis_and_stops_on_an_exception(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFLOW_REDIS_URL", redis_server.url)
    family: list[psutil.Process] = []

    def fail_amid(stack: LocalStack) -> None:
        with stack:
            assert stack.redis is None
            assert stack.environment["OFLOW_REDIS_URL"] == redis_server.url
            for part in (stack.store, stack.gateway, *stack.workers):
                process = psutil.Process(part.pid)
                family.extend([process, *process.children(recursive=True)])
            raise ZeroDivisionError

    stack = LocalStack(tmp_path, MergedLog(sys.stdout), workers=2)
    with pytest.raises(ZeroDivisionError):
        fail_amid(stack)
    assert len(family) >= 6  # the two workers have children
    assert psutil.wait_procs(family, timeout=2)[1] == []
    assert redis_server.is_ready()


def test_unreachable_external_redis_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFLOW_REDIS_URL", f"redis://{LOOPBACK}:{free_ports(1)[0]}/0")
    stack = LocalStack(tmp_path, MergedLog(sys.stdout))
    with pytest.raises(LocalStackError, match="Cannot use the Redis at OFLOW_REDIS_URL"), stack:
        pass
    assert not stack.store.is_running


def redis_of(stack: Stack) -> redis.Redis:
    return redis.Redis.from_url(stack.children("-m service")[0].environ()["OFLOW_REDIS_URL"])
