"""Gateway and worker processes for integration tests."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from redis import Redis

from service.core.model_info import ModelInfo, ModelInput
from service.core.registry import Registry
from service.local.log import MergedLog
from service.local.ports import LOOPBACK, free_ports
from service.local.processes import ManagedProcess
from worker.serving.context import worker_name

# For tests of the gateway alone: a model without workers that accepts any input.
ANY_INPUT = ModelInfo(
    name="any",
    task="completion",
    input=ModelInput(min_frames=2, max_frames=1000, min_points=32, upright=False),
    checkpoint_sha256="0" * 64,
    parameters=1,
    resolution=32,
    threshold=0.5,
)
Process = TypeVar("Process", bound=ManagedProcess)
WORKER = [sys.executable, "-m", "worker"]


class Gateway(ManagedProcess):
    """`python -m service` on a free port, with an HTTP `client`."""

    def __init__(self, environment: dict[str, str]) -> None:
        port = free_ports(1)[0]
        self.client = httpx.Client(
            base_url=f"http://{LOOPBACK}:{port}",
            trust_env=False,
            timeout=60.0,
            limits=httpx.Limits(max_keepalive_connections=0),  # the gateway may close an idle one at any time
        )
        super().__init__(
            "gateway",
            [sys.executable, "-m", "service"],
            environment=environment | {"OFLOW_PORT": str(port)},
            log=MergedLog(sys.__stderr__ or sys.stderr),
        )

    def is_ready(self) -> bool:
        try:
            return self.client.get("/livez").is_success
        except httpx.TransportError:
            return False

    def submit(self, file: bytes, **options: Any) -> dict[str, Any]:
        """Submit a sequence and return the job."""
        response = self.client.post("/reconstruct", files={"file": ("sequence.npz", file)}, data=options)
        assert response.status_code == 202, response.text
        job: dict[str, Any] = response.json()
        return job

    def follow(
        self, job_id: str, until: Callable[[dict[str, Any]], bool] | None = None, seconds: float = 120
    ) -> dict[str, Any]:
        """Poll the job until it has ended, or until `until` returns True."""
        until = until or (lambda job: job["state"] not in ("queued", "running"))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            job: dict[str, Any] = self.client.get(f"/jobs/{job_id}").raise_for_status().json()
            if until(job):
                return job
            time.sleep(0.03)
        raise AssertionError(f"waited {seconds} s in vain: {job}")


class Worker(ManagedProcess):
    """`worker serve`, ready once its model is loaded. `lines()` returns its log."""

    grace = 15.0

    def __init__(self, environment: dict[str, str], name: str = "worker") -> None:
        threads = {"OMP_NUM_THREADS": "1"}  # several workers share the cores
        super().__init__(
            name,
            [*WORKER, "serve"],
            environment=environment | threads,
            log=MergedLog(sys.__stderr__ or sys.stderr),
        )

    def lines(self) -> list[str]:
        return self.log.tail(self.name, count=2000)

    def is_ready(self) -> bool:
        model = Path(self.environment.get("OFLOW_MODEL", "local_oflow")).stem
        with Redis.from_url(self.environment["OFLOW_REDIS_URL"], decode_responses=True) as redis:
            return self.is_running and f"{model}/{worker_name(self.pid)}" in Registry(redis).alive()


def command_of(process: psutil.Process) -> str:
    """The command line of a process; empty once it has exited."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # its parent may not have noticed yet
        return ""


@contextmanager
def running(process: Process, seconds: float = 60) -> Iterator[Process]:
    """Start the process, wait until it is ready, and stop it at the end."""
    try:
        process.start()
        process.wait_until_ready(seconds)
        yield process
    finally:
        process.stop()
