"""How long the service is away when Redis and the store are lost, and how long a backup takes."""

import os
import subprocess
import sys
import time
from pathlib import Path

from redis import Redis

from service.core.object_store import ObjectStore
from service.core.settings import Settings
from tests.suites.load.caller import Caller, LoadError, Timings
from tests.suites.load.jobs import QUERY, Sequence, require_result, run_jobs
from tests.suites.load.report import Report
from tests.suites.load.stack import Stack

WAITING = 10  # jobs in the queue at the time of the backup
WANTED = 120  # seconds until everything works again


def measure_recovery(stack: Stack, sequences: list[Sequence], jobs: int, folder: Path) -> Report:
    """Back up a service with ended and waiting jobs, empty its Redis and its bucket, restore both, and wait.

    Every result from before is downloaded again, and the waiting jobs run; all files are verified.
    """
    keys = stack.new_keys(len(sequences), rate_limit=10**6, open_jobs=10**6)
    run_jobs(stack, keys, sequences, jobs, lambda: None)
    stack.worker.stop()
    caller = Caller(stack.gateway.port, keys[0])
    waiting = [caller.submit(Timings(), sequences[0].file, QUERY)["id"] for _ in range(WAITING)]
    caller.close()
    backup = _seconds(stack, "backup", folder)
    stack.gateway.kill()
    size = _wipe(stack)

    began = time.perf_counter()
    restore = _seconds(stack, "restore", folder)
    for part in (stack.worker, stack.gateway):
        part.start()
    stack.gateway.wait_until_answering()
    first = Caller(stack.gateway.port, keys[0])
    of_first = [
        job for job in first.send("GET", "/jobs?limit=100").json()["jobs"] if job["id"] not in waiting
    ]
    require_result(first, of_first[0], sequences[0])
    served = time.perf_counter() - began
    for job_id in waiting:
        require_result(first, first.follow(Timings(), job_id), sequences[0])
    everything = time.perf_counter() - began
    first.close()
    found = sum(_verified(stack, key, sequence) for key, sequence in zip(keys, sequences, strict=True))
    if found != jobs + WAITING:
        raise LoadError(f"{found} of {jobs + WAITING} jobs are there after the restore")

    report = Report(
        "Recovery",
        f"{jobs} ended and {WAITING} waiting jobs, {size / 1e6:.1f} MB of files. Redis and the bucket are "
        "emptied after the backup; the time runs from the start of the restore",
    )
    report.add("backup", backup, "s")
    report.add("restore", restore, "s")
    report.add("first result served again", served, "s", below=WANTED)
    report.add("waiting jobs done", everything, "s")
    return report


def _seconds(stack: Stack, command: str, folder: Path) -> float:
    began = time.perf_counter()
    line = [sys.executable, "-m", "service.cli", command, str(folder)]
    done = subprocess.run(line, env=os.environ | stack.environment, capture_output=True, text=True)
    if done.returncode:
        raise LoadError(f"oflow {command}: {done.stderr}")
    return time.perf_counter() - began


def _wipe(stack: Stack) -> int:
    """Delete all records and all files; the bytes of the latter."""
    with Redis.from_url(stack.redis.url) as redis:
        redis.flushall()
    names = {f"OFLOW_{field.upper()}": field for field in Settings.model_fields}
    settings = {names[name]: value for name, value in stack.environment.items() if name in names}
    store = ObjectStore(Settings(**settings))  # type: ignore[arg-type]
    size = 0
    for page in store.client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket):
        for entry in page.get("Contents", []):
            size += entry["Size"]
            store.client.delete_object(Bucket=store.bucket, Key=entry["Key"])
    return size


def _verified(stack: Stack, key: str, sequence: Sequence) -> int:
    """The number of jobs of a key, whose files are all as they should be."""
    caller = Caller(stack.gateway.port, key)
    jobs = caller.send("GET", "/jobs?limit=100").json()["jobs"]
    for job in jobs:
        require_result(caller, caller.send("GET", f"/jobs/{job['id']}").json(), sequence)
    caller.close()
    return len(jobs)
