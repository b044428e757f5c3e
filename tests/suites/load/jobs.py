"""Many clients with many jobs; each result is compared with the bare Reconstructor's."""

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import cycle
from typing import Any

import numpy as np
from redis import Redis

from service.core.jobs.store import JobStore
from service.core.sequences.sequence import PointCloudSequence, read_sequence
from service.page.samples import SAMPLES
from tests.suites.load.bare import Bare
from tests.suites.load.caller import Caller, LoadError, Timings
from tests.suites.load.report import Report, percentiles
from tests.suites.load.stack import Stack

OPTIONS: dict[str, Any] = {"resolution": 32, "refine": "off"}  # its octahedron fits nothing
QUERY = "&".join(f"{name}={value}" for name, value in OPTIONS.items())


@dataclass(frozen=True)
class Sequence:
    """An input file and the SHA-256 of the expected GLB."""

    file: bytes
    sha256: str


@dataclass
class Run:
    """Results observed by the clients."""

    submits: Timings = field(default_factory=Timings)
    polls: Timings = field(default_factory=Timings)
    jobs: list[dict[str, Any]] = field(default_factory=list)  # in order of completion
    key_of: dict[str, str] = field(default_factory=dict)  # job id → key that submitted it

    def seconds_between(self, first: str, last: str) -> list[float]:
        return [(_time(job[last]) - _time(job[first])).total_seconds() for job in self.jobs]

    def span(self, first: str, last: str) -> float:
        """Seconds from the earliest `first` to the latest `last` of all jobs."""
        return (
            max(_time(job[last]) for job in self.jobs) - min(_time(job[first]) for job in self.jobs)
        ).total_seconds()


def own_sequences(bare: Bare, count: int) -> list[Sequence]:
    """A sequence for each client: the sample, translated and scaled."""
    sample = read_sequence(io.BytesIO(SAMPLES["knees"].path.read_bytes()))
    sequences = []
    for number in range(count):
        points = tuple(np.float32(1 + number / 10) * cloud + np.float32(number) for cloud in sample.points)
        file = io.BytesIO()
        PointCloudSequence(points, sample.times, sample.corresponding).save(file)
        sequences.append(Sequence(file.getvalue(), bare.run(file.getvalue(), **OPTIONS)[0]))
    return sequences


def measure_jobs(
    stack: Stack, sequences: list[Sequence], jobs: int, on_result: Callable[[], None] = lambda: None
) -> Report:
    """Clients submit their jobs concurrently and follow them."""
    keys = stack.new_keys(len(sequences))
    before, used = stack.memory(), _used(stack)
    run = run_jobs(stack, keys, sequences, jobs, on_result)
    after = stack.memory()
    report = Report(
        "Jobs",
        f"{jobs} jobs of {len(sequences)} clients on one worker, small model. Each file is downloaded and "
        "is, byte for byte, what the bare Reconstructor makes of the client's own sequence",
    )
    report.add("accepted", jobs / run.span("created_at", "created_at"), "1/s")
    report.add("ended", jobs / run.span("started_at", "ended_at"), "1/s")
    report.add_times("submit", run.submits.seconds)
    report.add_times("poll", run.polls.seconds)
    waits = run.seconds_between("created_at", "started_at")
    for name, seconds in zip(("median", "95 %", "99 %"), percentiles(waits), strict=True):
        report.add(f"wait in the queue, {name}", seconds, "s")
    report.add("requests retried after Retry-After", run.submits.retries + run.polls.retries, "")
    report.add("Valkey, per ended job", (_used(stack) - used) / jobs / 1000, "kB")
    _expire(stack, run.jobs)
    report.add("Valkey, per expired job", (_used(stack) - used) / jobs / 1000, "kB")
    for part, mib in after.items():
        report.add(f"{part}, before", before[part], "MiB")
        report.add(f"{part}, after", mib, "MiB")
    return report


def _expire(stack: Stack, jobs: list[dict[str, Any]]) -> None:
    """End the time of jobs, as the gateway does."""
    with Redis.from_url(stack.redis.url, decode_responses=True) as redis:
        for job in jobs:
            JobStore(redis).expire(job["id"])


def _used(stack: Stack) -> int:
    """Bytes of all records, their indexes and events in Valkey."""
    with Redis.from_url(stack.redis.url) as redis:
        return sum(int(redis.memory_usage(key, samples=0) or 0) for key in redis.scan_iter("oflow:*"))


def run_jobs(
    stack: Stack, keys: list[str], sequences: list[Sequence], jobs: int, on_result: Callable[[], None]
) -> Run:
    """Clients submit their share of the jobs, then follow them, oldest first, and download the results.

    They are spread over the gateways.
    Calls `on_result` for each correct result. Raises LoadError for a wrong one.
    """
    run = Run()
    clients = len(sequences)
    shares = [jobs // clients + (number < jobs % clients) for number in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        tasks = [
            pool.submit(_client, run, gateway.port, key, sequence, share, on_result)
            for key, sequence, share, gateway in zip(
                keys, sequences, shares, cycle(stack.gateways), strict=False
            )
        ]
        for task in tasks:
            task.result()
    if len({job["id"] for job in run.jobs}) != jobs:
        raise LoadError(f"{len({job['id'] for job in run.jobs})} of {jobs} jobs ended")
    return run


def delete_jobs(stack: Stack, key_of: dict[str, str]) -> None:
    """Delete the files of these jobs, each with the key that submitted it."""
    for key in set(key_of.values()):
        caller = Caller(stack.gateway.port, key)
        for job_id in (job_id for job_id, owner in key_of.items() if owner == key):
            caller.ask(Timings(), "DELETE", f"/jobs/{job_id}")
        caller.close()


def _client(
    run: Run, port: int, key: str, sequence: Sequence, jobs: int, on_result: Callable[[], None]
) -> None:
    caller = Caller(port, key)
    open_jobs = [caller.submit(run.submits, sequence.file, QUERY)["id"] for _ in range(jobs)]
    for job_id in open_jobs:
        job = caller.follow(run.polls, job_id)
        require_result(caller, job, sequence)
        run.jobs.append(job)
        run.key_of[job_id] = key
        on_result()
    caller.close()


def require_result(caller: Caller, job: dict[str, Any], sequence: Sequence) -> None:
    """Raises LoadError unless the job succeeded at once with the file that the sequence should have."""
    if job["state"] != "succeeded" or job["attempt"] != 1:
        raise LoadError(f"job {job['id']} {job['state']} at attempt {job['attempt']}: {job.get('error')}")
    [file] = job["result"]["files"]
    found = hashlib.sha256(caller.download(Timings(), file["href"])).hexdigest()
    if not found == file["sha256"] == sequence.sha256:
        detail = f"expected {file['sha256']} by its record and {sequence.sha256} by the bare Reconstructor"
        raise LoadError(f"job {job['id']}: the file has SHA-256 {found}, {detail}")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
