"""Two workers: running in parallel, and taking over jobs from each other."""

import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.integration.service_processes import Gateway, Worker, command_of

QUICK: dict[str, Any] = {"resolution": 64}


@pytest.fixture(scope="module")
def workers(server_env: dict[str, str]) -> Iterator[list[Worker]]:
    environment = server_env | {"OFLOW_VISIBILITY_TIMEOUT_SECONDS": "4"}
    pair = [Worker(environment, name) for name in ("first", "second")]
    try:
        for worker in pair:
            worker.start()
        for worker in pair:
            worker.wait_until_ready(240)
        yield pair
    finally:
        for worker in pair:
            worker.stop()


@pytest.fixture
def both(workers: list[Worker]) -> list[Worker]:
    """Both workers, restarted if a previous test stopped them."""
    for worker in workers:
        if not worker.is_running:
            worker.start()
            worker.wait_until_ready(240)
    return workers


def holder_of(job_id: str, workers: list[Worker]) -> Worker:
    """The worker that runs the job."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for worker in workers:
            if any(f"job {job_id} started" in line for line in worker.lines()):
                return worker
        time.sleep(0.02)
    raise AssertionError("no worker says that it has started the job")


def extracting(job: dict[str, Any]) -> bool:
    assert job["state"] in ("queued", "running"), job
    return bool(job["progress"]["stage"] == "register")


def undisturbed(gateway: Gateway, sample: bytes) -> list[Any]:
    job = gateway.follow(gateway.submit(sample, **QUICK)["id"])
    return [(file["format"], file["sha256"]) for file in job["result"]["files"]]


def test_two_jobs_run_at_once_on_two_workers(gateway: Gateway, both: list[Worker], sample: bytes) -> None:
    first, second = (gateway.submit(sample)["id"] for _ in range(2))
    holders = {holder_of(job_id, both).name for job_id in (first, second)}
    one, two = gateway.follow(first), gateway.follow(second)
    assert holders == {"first", "second"}
    assert (one["state"], two["state"]) == ("succeeded", "succeeded")
    assert two["started_at"] < one["ended_at"]
    assert one["started_at"] < two["ended_at"]


@pytest.mark.parametrize("victim", ["the whole worker", "the process with the model"])
def test_job_survives_the_death_of_its_worker(
    gateway: Gateway, both: list[Worker], sample: bytes, victim: str
) -> None:
    expected = undisturbed(gateway, sample)
    job_id = gateway.submit(sample, **QUICK)["id"]
    gateway.follow(job_id, until=extracting)
    worker = holder_of(job_id, both)
    killed_at = time.monotonic()
    if victim == "the whole worker":
        worker.kill()
    else:
        large = [p for p in psutil.Process(worker.pid).children() if p.memory_info().rss > 150e6]
        (child,) = (p for p in large if "storer" not in command_of(p))
        child.send_signal(signal.SIGKILL)
    job = gateway.follow(job_id)
    print(f"{victim} killed: the job succeeded {time.monotonic() - killed_at:.1f} s later")
    assert job["state"] == "succeeded", job
    assert job["attempt"] == 2
    assert [(file["format"], file["sha256"]) for file in job["result"]["files"]] == expected
    while not (finished := [line for w in both for line in w.lines() if f"job {job_id} succeeded" in line]):
        assert time.monotonic() - killed_at < 60  # the line comes after the record
        time.sleep(0.02)
    assert len(finished) == 1


def test_stopping_worker_returns_its_job_immediately(
    gateway: Gateway, both: list[Worker], sample: bytes
) -> None:
    job_id = gateway.submit(sample)["id"]
    gateway.follow(job_id, until=extracting)
    worker = holder_of(job_id, both)
    psutil.Process(worker.pid).terminate()
    job = gateway.follow(job_id)
    assert job["state"] == "succeeded", job
    assert job["attempt"] == 2


def test_long_job_is_not_delivered_twice(gateway: Gateway, both: list[Worker], sample: bytes) -> None:
    """The job runs longer than the visibility timeout of 4 s, so its delivery must be renewed."""
    job = gateway.follow(
        gateway.submit(sample, resolution=320, quality="exact", formats="glb,obj,ply,npz")["id"]
    )
    assert job["result"]["timings"]["total"] > 4
    assert job["attempt"] == 1
    starts = [line for worker in both for line in worker.lines() if f"job {job['id']} started" in line]
    assert len(starts) == 1
