"""Submissions per second of a gateway on one core."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil

from service.page.samples import SAMPLES
from tests.suites.load.caller import Caller, LoadError, Timings
from tests.suites.load.report import Report
from tests.suites.load.stack import MIB, Stack

CLIENTS = 8
WANTED = 200  # per second


def measure_submits(stack: Stack, seconds: float) -> Report:
    """Clients submit a sample repeatedly. The gateway has one core and everything else the rest; no worker
    runs, as only the way into the queue is measured."""
    sample = SAMPLES["knees"].path.read_bytes()
    gateway = psutil.Process(stack.gateway.pid)
    keys = stack.new_keys(CLIENTS, rate_limit=10**9, open_jobs=10**9)
    timings = Timings()
    cores = sorted(os.sched_getaffinity(0))
    try:
        _confine(gateway, {cores[0]})
        others = [psutil.Process(part.pid) for part in (stack.redis, stack.store)] + [psutil.Process()]
        for process in others:
            _confine(process, set(cores[1:]) or {cores[0]})
        with ThreadPoolExecutor(CLIENTS) as pool:
            _submit_all(pool, stack, keys, sample, Timings(), 1.0)  # warms up
            spent, idle = sum(gateway.cpu_times()[:2]), psutil.cpu_times().idle
            start = time.perf_counter()
            ids = _submit_all(pool, stack, keys, sample, timings, seconds)
            took = time.perf_counter() - start
            spent = sum(gateway.cpu_times()[:2]) - spent
            idle = (psutil.cpu_times().idle - idle) / took / len(cores)
    finally:
        for process in [gateway, *others]:
            _confine(process, set(cores))
    if len(ids) != len(timings.seconds):
        raise LoadError(f"{len(timings.seconds)} submissions created {len(ids)} jobs")
    milliseconds = 1e3 * spent / len(ids)
    report = Report(
        "Submissions",
        f"{CLIENTS} clients for {seconds:g} s, each submits the sample ({len(sample) / 1000:.0f} kB, "
        "bare body, idempotency key) as soon as the answer to the last is there. The gateway has one core, "
        "all others, the clients too, have the rest",
    )
    report.add("accepted", len(ids) / took, "1/s")
    report.add("gateway, CPU time", milliseconds, "ms per submission")
    report.add("capacity of one core", 1e3 / milliseconds, "1/s", at_least=WANTED)
    report.add("machine, idle", 100 * idle, "%")
    report.add_times("submit", timings.seconds)
    report.add("gateway, memory", gateway.memory_info().rss / MIB, "MiB")
    return report


def _submit_all(
    pool: ThreadPoolExecutor, stack: Stack, keys: list[str], sample: bytes, timings: Timings, seconds: float
) -> set[str]:
    end = time.monotonic() + seconds

    def client(key: str) -> list[str]:
        caller = Caller(stack.gateway.port, key)
        ids = []
        while time.monotonic() < end:
            ids.append(caller.submit(timings, sample, "resolution=32&refine=off")["id"])
        caller.close()
        return ids

    return {job_id for ids in pool.map(client, keys) for job_id in ids}


def _confine(process: psutil.Process, cores: set[int]) -> None:
    """Applies to all threads of the process, and new threads inherit it."""
    for thread in process.threads():
        with suppress(ProcessLookupError):  # it has exited meanwhile
            os.sched_setaffinity(thread.id, cores)
