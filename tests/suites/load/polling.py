"""Latency of `GET /jobs/{id}` with many polling and streaming clients and a busy worker."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from tests.suites.load.caller import Caller, Timings
from tests.suites.load.jobs import QUERY, Sequence
from tests.suites.load.report import Report
from tests.suites.load.stack import MIB, Stack

CLIENTS, STREAMS = 100, 20
WANTED_MS, WANTED_MIB = 5, 150e6 / MIB
JOBS_A_SECOND = 12  # more than the worker can process


def measure_polling(stack: Stack, sequence: Sequence, seconds: float) -> Report:
    """First each client polls once a second as told by Retry-After, then without pauses."""
    keys = stack.new_keys(CLIENTS, rate_limit=10**9, open_jobs=10**9)
    job_ids = _submit(stack, keys[0], sequence, STREAMS + int(JOBS_A_SECOND * 1.5 * seconds))
    polls, closed, streams = Timings(), Timings(), _Streams(stack, keys[0], job_ids)
    with _largest(psutil.Process(stack.gateway.pid)) as memory, streams.open():
        _poll(stack, keys[0], job_ids, polls, seconds, pause=1.0)
        _poll(stack, keys[0], job_ids, closed, seconds / 2, pause=0.0)
    report = Report(
        "Polling",
        f"{CLIENTS} clients poll jobs for {seconds:g} s, once a second each, then for {seconds / 2:g} s "
        f"without a pause. {STREAMS} event streams are open and the worker runs jobs throughout",
    )
    report.add("polls", len(polls.seconds) / seconds, "1/s")
    report.add_times("once a second", polls.seconds, below=WANTED_MS)
    report.add("polls without a pause", len(closed.seconds) / (seconds / 2), "1/s")
    report.add_times("without a pause", closed.seconds)
    report.add("events received", streams.events, "")
    report.add("gateway, peak memory", max(memory), "MiB", below=WANTED_MIB)
    return report


def _submit(stack: Stack, key: str, sequence: Sequence, count: int) -> list[str]:
    caller = Caller(stack.gateway.port, key)
    ids = [caller.submit(Timings(), sequence.file, QUERY)["id"] for _ in range(count)]
    caller.close()
    return ids


def _poll(stack: Stack, key: str, job_ids: list[str], timings: Timings, seconds: float, pause: float) -> None:
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        caller = Caller(stack.gateway.port, key)
        time.sleep(pause * random.random())  # spread the requests
        while time.monotonic() < end:
            caller.ask(timings, "GET", f"/jobs/{job_ids[number % len(job_ids)]}")
            time.sleep(pause)
        caller.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))


@dataclass
class _Streams:
    """Clients that follow one job after another until it ends."""

    stack: Stack
    key: str
    job_ids: list[str]
    events: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Open all streams, and close them on exit."""
        jobs, closing, opened = iter(self.job_ids), threading.Event(), threading.Semaphore(0)
        callers = [Caller(self.stack.gateway.port, self.key) for _ in range(STREAMS)]
        threads = [
            threading.Thread(target=self._follow, args=[caller, jobs, closing, opened], daemon=True)
            for caller in callers
        ]
        for thread in threads:
            thread.start()
        for _ in threads:
            opened.acquire()
        yield
        closing.set()

    def _follow(
        self, caller: Caller, jobs: Iterator[str], closing: threading.Event, opened: threading.Semaphore
    ) -> None:
        while not closing.is_set():
            with self._lock:
                job_id = next(jobs)
            with caller.stream(f"/jobs/{job_id}/events") as answer:
                opened.release()
                for line in answer:
                    with self._lock:
                        self.events += line.startswith(b"id:")


@contextmanager
def _largest(process: psutil.Process) -> Iterator[list[float]]:
    """Samples the resident memory of a process in MiB."""
    seen, done = [process.memory_info().rss / MIB], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            seen.append(process.memory_info().rss / MIB)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()
