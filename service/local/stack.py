"""The whole service as a context manager: Redis, object store, workers and gateway."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import redis

from service.core.registry import Registry
from service.local.errors import LocalStackError
from service.local.log import MergedLog
from service.local.object_store import ObjectStore
from service.local.ports import LOOPBACK, free_ports, is_free
from service.local.processes import ManagedProcess
from service.local.redis_server import RedisServer
from service.local.supervisor import Supervisor

START_SECONDS = 300.0  # a cold import of torch from a slow disk, and compiling kernels, take half of this


def service_environment(redis_url: str, store: ObjectStore) -> dict[str, str]:
    """Environment of the gateway and the workers, with the settings for Redis and the object store.

    Inherits all other variables, and excludes loopback from any HTTP proxy.
    """
    no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), LOOPBACK]))
    return os.environ | {
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "PYTHONUNBUFFERED": "1",  # no delay in the merged log
        "OFLOW_AUTH": "open",
        "OFLOW_LOG_FORMAT": os.environ.get("OFLOW_LOG_FORMAT", "text"),
        "OFLOW_HOST": LOOPBACK,
        "OFLOW_REDIS_URL": redis_url,
        "OFLOW_S3_ENDPOINT_URL": store.endpoint_url,
        "OFLOW_S3_ACCESS_KEY_ID": store.access_key_id,
        "OFLOW_S3_SECRET_ACCESS_KEY": store.secret_access_key,
        "OFLOW_S3_BUCKET": store.bucket,
        "OFLOW_S3_PATH_STYLE": "true",
    }


def model_settings(model: str | None, checkpoint: str | None) -> dict[str, str]:
    """Variables that make workers load another model or other weights, and gateways offer them."""
    settings = {}
    if model is not None:
        is_file = model.endswith((".yaml", ".yml"))
        settings["OFLOW_MODEL"] = str(Path(model).resolve()) if is_file else model
        settings["OFLOW_DEFAULT_MODEL"] = Path(model).stem if is_file else model
    if checkpoint is not None:
        is_url = "://" in checkpoint
        settings["OFLOW_CHECKPOINT"] = checkpoint if is_url else str(Path(checkpoint).resolve())
        if not is_url and not Path(checkpoint).is_file():
            raise LocalStackError(f"There is no checkpoint {checkpoint}: name a file or a URL")
    return settings


class Gateway(ManagedProcess):
    def is_worth_showing(self, line: str) -> bool:
        return "GET /livez" not in line and "GET /readyz" not in line  # this stack's own probes


class LocalStack:
    """Runs the whole service inside a `with` block; `address` is the gateway's URL.

    Uses the Redis at OFLOW_REDIS_URL if set, otherwise starts one. `port` None selects a free port. `timings`
    holds the seconds from the start until each part was ready. `overrides` are settings of gateway and
    workers, OFLOW_… variables.
    """

    def __init__(
        self,
        directory: Path,
        log: MergedLog,
        *,
        port: int | None = None,
        workers: int = 1,
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        if port is not None and not is_free(port):
            raise LocalStackError(f"Port {port} on {LOOPBACK} is already in use: choose another port")
        self.port = port or free_ports(1)[0]
        self.address = f"http://{LOOPBACK}:{self.port}"
        self.timings: dict[str, float] = {}
        external_redis = os.environ.get("OFLOW_REDIS_URL")
        self.redis = None if external_redis else RedisServer(directory / "redis", log)
        self.store = ObjectStore(directory / "store", log)
        redis_url = self.redis.url if self.redis else str(external_redis)
        self.environment = service_environment(redis_url, self.store) | {"OFLOW_PORT": str(self.port)}
        self.environment |= overrides or {}
        serve_http = [sys.executable, "-m", "service"]
        self.gateway = Gateway("gateway", serve_http, environment=self.environment, log=log)
        serve = [sys.executable, "-m", "worker", "serve"]
        names = ["worker"] if workers == 1 else [f"worker-{number}" for number in range(1, workers + 1)]
        scratch = (
            directory / "scratch"
        )  # goes with the rest, also when a worker is killed before it can tidy up
        scratch.mkdir(parents=True, exist_ok=True)
        of_worker = self.environment | {"TMPDIR": str(scratch)}
        self.workers = [ManagedProcess(name, serve, environment=of_worker, log=log) for name in names]
        servers = [self.store] if self.redis is None else [self.redis, self.store]
        self._parts: list[ManagedProcess] = [*servers, *self.workers, self.gateway]
        self._supervisor = Supervisor(essential=[*servers, self.gateway], restarted=self.workers)
        self._client = httpx.Client(base_url=self.address, trust_env=False, timeout=5.0)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def check(self) -> None:
        """Raise LocalStackError if an essential part has died."""
        if self._supervisor.failure:
            raise self._supervisor.failure

    def wait(self) -> None:
        """Block until an essential part dies, then raise LocalStackError."""
        while True:
            self.check()
            time.sleep(0.2)

    def _start(self) -> None:
        start = time.monotonic()
        self.store.start()
        if self.redis is not None:
            self.redis.start()
            self.redis.wait_until_ready(START_SECONDS)  # it loads all its data first
            with redis.Redis.from_url(self.redis.url, socket_timeout=START_SECONDS) as client:
                Registry(client).forget_workers()  # a killed stack's beats would count as ready
        else:
            _require_redis(self.environment["OFLOW_REDIS_URL"])
        self.timings["redis"] = time.monotonic() - start
        for worker in self.workers:  # they import torch while the object store starts
            worker.start()
        self.store.wait_until_ready(START_SECONDS)
        self.timings["store"] = time.monotonic() - start
        self.gateway.start()
        self._wait_for("/livez", start)
        self.timings["gateway"] = time.monotonic() - start
        self._wait_for("/readyz", start)
        self.timings["worker"] = time.monotonic() - start
        self._supervisor.start()  # not earlier, as restarting cannot help a worker that fails to start

    def _wait_for(self, path: str, start: float) -> None:
        last = "no response"
        while time.monotonic() - start < START_SECONDS:
            for part in self._parts:
                if not part.is_running:
                    raise part.error(f"{part.name} {part.exit_status} before it was ready")
            try:
                response = self._client.get(path)
            except httpx.TransportError:
                pass
            else:
                if response.is_success:
                    return
                last = f"{response.status_code} {response.text}"
            time.sleep(0.1)
        message = f"The stack was not ready after {START_SECONDS:g} s: GET {path} returned {last}"
        raise LocalStackError(message, self.gateway.log.tail())

    def _stop(self) -> None:
        self._supervisor.stop()
        self.gateway.stop()
        for worker in self.workers:
            worker.ask_to_stop()  # in parallel, as each takes a second or two
        for part in reversed(self._parts):
            part.stop()
        self._client.close()


def _require_redis(url: str) -> None:
    try:
        with redis.Redis.from_url(url, socket_timeout=5.0, retry=None) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise LocalStackError(f"Cannot use the Redis at OFLOW_REDIS_URL: {error}") from error
