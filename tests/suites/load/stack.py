"""The whole service on this machine with production settings, and its memory use."""

import io
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from redis import Redis

from service.api.keys import KeyStore
from service.core.registry import Registry
from service.local.log import MergedLog
from service.local.object_store import ObjectStore
from service.local.ports import LOOPBACK, free_ports
from service.local.processes import ManagedProcess
from service.local.redis_server import RedisServer
from service.local.stack import service_environment

KEPT_LINES = 5000
MIB = 2**20
WORKER = [sys.executable, "-m", "worker"]


class QuietLog(MergedLog):
    """Keeps recent lines without printing them, so that logging costs this process little."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self._kept: deque[tuple[str, str]] = deque(maxlen=KEPT_LINES)

    def write(self, name: str, line: str, *, shown: bool = True) -> None:
        self._kept.append((name, line))

    def tail(self, name: str | None = None, count: int = 15) -> list[str]:
        kept = [f"{who:>8} | {line}" for who, line in list(self._kept) if name in (None, who)]
        return kept[-count:]


class Gateway(ManagedProcess):
    """A gateway that is ready once the whole service is."""

    def __init__(self, environment: dict[str, str], log: MergedLog) -> None:
        self.port = free_ports(1)[0]
        environment = environment | {"OFLOW_PORT": str(self.port)}
        super().__init__("gateway", [sys.executable, "-m", "service"], environment=environment, log=log)

    def is_ready(self) -> bool:
        try:
            url = f"http://{LOOPBACK}:{self.port}/readyz"
            return httpx.get(url, timeout=10, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def wait_until_answering(self, seconds: float = 60) -> None:
        """Wait until it answers, whether or not a worker has started."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://{LOOPBACK}:{self.port}/livez", timeout=10, trust_env=False).is_success:
                    return
            time.sleep(0.05)
        raise self.error("the gateway does not answer")


@dataclass(frozen=True)
class Stack:
    """The running parts; `environment` is that of gateways and workers."""

    redis: RedisServer
    store: ObjectStore
    workers: list[ManagedProcess]
    gateways: list[Gateway]
    environment: dict[str, str]

    @property
    def worker(self) -> ManagedProcess:
        """The only worker."""
        [worker] = self.workers
        return worker

    @property
    def gateway(self) -> Gateway:
        """The only gateway."""
        [gateway] = self.gateways
        return gateway

    @property
    def worker_child(self) -> psutil.Process:
        """The worker's process with the model, its largest one."""
        children = psutil.Process(self.worker.pid).children()
        return max(children, key=lambda child: child.memory_info().rss)

    def memory(self) -> dict[str, float]:
        """Resident memory of each part in MiB."""
        parts = {
            "gateway": psutil.Process(self.gateway.pid),
            "worker, parent": psutil.Process(self.worker.pid),
            "worker, child": self.worker_child,
            "Valkey": psutil.Process(self.redis.pid),
            "S3 store": psutil.Process(self.store.pid),
        }
        return {name: process.memory_info().rss / MIB for name, process in parts.items()}

    def wait_for_workers(self, seconds: float) -> None:
        """Wait until every worker has loaded its model."""
        end = time.monotonic() + seconds
        with Redis.from_url(self.redis.url, decode_responses=True) as redis:
            while sum(Registry(redis).workers().values()) < len(self.workers):
                for worker in self.workers:
                    if not worker.is_running or time.monotonic() > end:
                        raise worker.error(f"{worker.name} did not load its model")
                time.sleep(0.1)

    def new_keys(self, count: int, **limits: Any) -> list[str]:
        with Redis.from_url(self.redis.url, decode_responses=True) as redis:
            store = KeyStore(redis)
            return [store.create(f"client {number}", **limits)[1] for number in range(count)]


@contextmanager
def running_stack(
    directory: Path,
    *,
    workers: int = 1,
    gateways: int = 1,
    between: Callable[[ObjectStore], str] | None = None,
    **settings: str,
) -> Iterator[Stack]:
    """Valkey, the S3 store, single-threaded workers, and gateways that require keys and log JSON.

    `between` returns the address at which workers reach the store. `settings` overrides settings of gateways
    and workers.
    """
    log = QuietLog()
    redis, store = RedisServer(directory / "redis", log), ObjectStore(directory / "store", log)
    with ExitStack() as stack:
        for server in (redis, store):
            stack.callback(server.stop)
            server.start()
            server.wait_until_ready()
        environment = service_environment(redis.url, store)
        environment |= {"OMP_NUM_THREADS": "1", "OFLOW_AUTH": "keys", "OFLOW_LOG_FORMAT": "json"}
        environment |= {f"OFLOW_{name.upper()}": value for name, value in settings.items()}
        of_workers = environment | ({"OFLOW_S3_ENDPOINT_URL": between(store)} if between else {})
        found = Stack(
            redis,
            store,
            [
                ManagedProcess(f"worker{number}", [*WORKER, "serve"], environment=of_workers, log=log)
                for number in range(workers)
            ],
            [Gateway(environment, log) for _ in range(gateways)],
            environment,
        )
        for part in (*found.workers, *found.gateways):
            part.grace = 15.0
            stack.callback(part.stop)
            part.start()
        for gateway in found.gateways:
            gateway.wait_until_ready(240)
        found.wait_for_workers(240)
        yield found
