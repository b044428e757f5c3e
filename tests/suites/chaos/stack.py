"""The real service for the chaos suite: Valkey, object store, gateway, two workers, and proxies."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from redis import Redis
from redis.exceptions import RedisError

from service.core.jobs.record import Job, State
from service.core.jobs.store import JobStore
from service.local.log import MergedLog
from service.local.object_store import ObjectStore
from service.local.ports import LOOPBACK
from service.local.processes import ManagedProcess
from service.local.redis_server import RedisServer
from service.local.stack import service_environment
from tests.integration.service_processes import Gateway, Worker
from tests.suites.chaos.disk import Disk
from tests.suites.chaos.proxy import Proxy

LOADED = 120.0  # maximum seconds until a worker has loaded its model
MODEL_BYTES = 150e6  # a process with a loaded model uses more memory than this


class Stack:
    """Runs the service inside a `with` block. Gateway and workers connect to the servers through the proxies
    `valkey` and `files`, and the gateway to its queue through `queue`."""

    def __init__(self, directory: Path, workers: int = 2) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._file = (directory / "log.txt").open("w", buffering=1)
        # What each process writes to.
        sizes = {"valkey": 64, "store": 1024, "gateway": 64, "worker": 64}
        self.disks = {name: Disk(directory / name, megabytes) for name, megabytes in sizes.items()}
        self.redis = RedisServer(self.disks["valkey"].path, MergedLog(self._file))
        self.store = ObjectStore(self.disks["store"].path, MergedLog(self._file))
        self.valkey, self.queue = Proxy(self.redis.port), Proxy(self.redis.port)
        self.files = Proxy(self.store.port)
        for proxy in (self.valkey, self.queue, self.files):
            proxy.start()
        url = self.redis.url.replace(f":{self.redis.port}/", ":{port}/")
        self.environment = service_environment(url.format(port=self.valkey.port), self.store) | {
            "OFLOW_S3_ENDPOINT_URL": f"http://{LOOPBACK}:{self.files.port}",
            "OFLOW_DEVICE": "cpu",
        }
        gateway = {
            "OFLOW_BROKER_URL": url.format(port=self.queue.port),
            "TMPDIR": str(self.disks["gateway"].path),
        }
        worker = {"TMPDIR": str(self.disks["worker"].path)}
        self.gateway = Gateway(self.environment | gateway)
        self.workers = [Worker(self.environment | worker, f"worker-{n}") for n in range(1, workers + 1)]
        self.records = JobStore(Redis.from_url(self.redis.url, decode_responses=True, socket_timeout=2))

    def __enter__(self) -> Self:
        try:
            self.heal()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def parts(self) -> list[ManagedProcess]:
        """All parts in start order."""
        return [self.redis, self.store, *self.workers, self.gateway]

    @property
    def address(self) -> str:
        return str(self.gateway.client.base_url)

    def start(self, part: ManagedProcess) -> None:
        """Start a part that is not running, with an empty log."""
        part.kill()  # children of a dead process may still be running
        part.log = MergedLog(self._file)
        part.start()

    def revive(self) -> None:
        """Restart parts that have exited, like the supervisor of a real host."""
        for part in (*self.workers, self.gateway):
            if not part.is_running:
                self.start(part)

    def heal(self) -> None:
        """Restore all parts and connections, and wait until they are ready."""
        for proxy in (self.valkey, self.queue, self.files):
            proxy.heal()
        for disk in self.disks.values():
            disk.free()
        for part in self.parts:
            if not part.is_running:
                self.start(part)
        for part in self.parts:
            part.wait_until_ready(LOADED)

    def wait_until_ended(self, part: ManagedProcess, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while part.is_running:
            assert time.monotonic() < end, f"{part.name} still runs after {seconds:g} s"
            time.sleep(0.05)

    def stop(self) -> None:
        for worker in self.workers:
            worker.ask_to_stop()
        for part in reversed(self.parts):
            part.stop()
        for proxy in (self.valkey, self.queue, self.files):
            proxy.stop()
        for disk in self.disks.values():
            disk.unmount()
        self.gateway.client.close()
        self._file.close()

    @contextmanager
    def restarted(self, parts: list[ManagedProcess], **environment: str) -> Iterator[None]:
        """Restart these parts with additional environment variables, and again without them at the end."""
        usual = {part: part.environment for part in parts}
        try:
            for part in reversed(parts):
                part.environment = usual[part] | environment
                part.stop()
            self.heal()
            yield
        finally:
            for part in reversed(parts):
                part.environment = usual[part]
                part.stop()

    def record(self, job_id: str) -> Job | None:
        """A job's record; None while Valkey does not respond."""
        try:
            return self.records.get(job_id)
        except RedisError:
            return None

    def running(self) -> list[Job]:
        """The running jobs."""
        redis = self.records.redis
        found = (self.record(str(job_id)) for job_id in redis.smembers("oflow:open:open"))
        return [job for job in found if job is not None and job.state is State.RUNNING]

    def wait_for_attempt(
        self, job_id: str, attempt: int, stage: str | None = None, seconds: float = 60
    ) -> float:
        """Wait until the job runs in this attempt (and stage) and return the time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            job = self.record(job_id)
            if job is not None and job.attempt >= attempt and stage in (None, job.progress.stage):
                assert job.state.open, f"the job has ended already: {describe(job)}"
                return time.monotonic()
            time.sleep(0.01)
        raise AssertionError(
            f"attempt {attempt} of job {job_id} had not begun after {seconds:g} s: {describe(job)}"
        )

    def holder(self, job_id: str, attempt: int, seconds: float = 30) -> Worker:
        """The worker running this attempt of a job."""
        self.wait_for_attempt(job_id, attempt)
        end = time.monotonic() + seconds
        line = f"job {job_id} started, attempt {attempt}"
        while time.monotonic() < end:
            for worker in self.workers:
                if any(line in text for text in worker.lines()):
                    return worker
            time.sleep(0.01)
        raise AssertionError(f"no worker logged: {line}")


@contextmanager
def suspended(*processes: psutil.Process) -> Iterator[None]:
    """Send SIGSTOP, and SIGCONT at the end."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            if process.is_running():
                process.resume()


def describe(job: Job | None) -> str:
    """A short description of a job record for error messages."""
    if job is None:
        return "no record"
    lost = job.attempt - len(job.given_back)
    return f"job {job.id}: {job.state}, attempt {job.attempt} ({lost} lost), {job.progress}, {job.error}"


def model_process(worker: Worker) -> psutil.Process:
    """The worker's child process with the loaded model. The one that stores files can be as large."""
    for child in psutil.Process(worker.pid).children():
        if child.memory_info().rss > MODEL_BYTES and "worker.serving.storer" not in child.cmdline():
            return child
    raise AssertionError(f"{worker.name} has no process with a model")
