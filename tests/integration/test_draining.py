"""A worker that is told to stop while it runs a job."""

import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.integration.service_processes import Gateway, Worker

LONG = {"resolution": 64, "frames": 400, "formats": "obj,ply,npz"}


@pytest.fixture
def draining(server_env: dict[str, str]) -> Iterator[Worker]:
    worker = Worker(server_env | {"OFLOW_DRAIN_SECONDS": "60"})
    try:
        worker.start()
        worker.wait_until_ready(240)
        yield worker
    finally:
        worker.stop()


def ended(worker: Worker, seconds: float) -> float:
    """Seconds until the worker has ended."""
    began = time.monotonic()
    while worker.is_running:
        assert time.monotonic() - began < seconds
        time.sleep(0.05)
    assert not any("Traceback" in line for line in worker.lines())
    return time.monotonic() - began


def test_a_draining_worker_finishes_its_job_and_takes_no_other(
    gateway: Gateway, draining: Worker, sample: bytes
) -> None:
    first, second = (gateway.submit(sample, **LONG)["id"] for _ in range(2))
    gateway.follow(first, lambda job: job["progress"]["stage"] == "register")
    psutil.Process(draining.pid).send_signal(signal.SIGTERM)
    job = gateway.follow(first)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    ended(draining, 15)
    assert gateway.client.get(f"/jobs/{second}").json()["state"] == "queued"
    gateway.client.delete(f"/jobs/{second}")
    assert any("stopping after the running job, or in 60 s" in line for line in draining.lines())


def test_a_second_signal_stops_it_at_once(gateway: Gateway, draining: Worker, sample: bytes) -> None:
    job_id = gateway.submit(sample, **LONG)["id"]
    gateway.follow(job_id, lambda job: job["progress"]["stage"] == "register")
    for _ in range(2):
        psutil.Process(draining.pid).send_signal(signal.SIGTERM)
        time.sleep(0.2)
    assert ended(draining, 15) < 10
    job = gateway.client.get(f"/jobs/{job_id}").json()
    assert job["state"] in ("queued", "running")
    gateway.client.delete(f"/jobs/{job_id}")
