"""`DELETE /jobs/{id}` cancels an open job and deletes the files of an ended one."""

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from service.core.jobs.store import JobStore
from service.local.object_store import ObjectStore
from tests.integration.service_processes import Gateway, Worker


def test_canceled_queued_job_never_starts(gateway: Gateway, queued: dict[str, Any], jobs: JobStore) -> None:
    response = gateway.client.delete(f"/jobs/{queued['id']}")
    assert response.status_code == 200
    assert response.json()["state"] == "canceled"
    assert response.json()["ended_at"] >= queued["created_at"]
    assert "started_at" not in response.json()
    assert jobs.claim(queued["id"], 3) is None  # as a worker would
    result = gateway.client.get(f"/jobs/{queued['id']}/result")
    assert (result.status_code, result.json()["code"]) == (409, "job_has_no_result")


def test_deleting_an_ended_job_deletes_its_files(
    gateway: Gateway, queued: dict[str, Any], object_store: ObjectStore
) -> None:
    href = f"/jobs/{queued['id']}"
    stored: dict[str, Any] = {"Bucket": object_store.bucket, "Key": f"jobs/{queued['id']}/input"}
    files = object_store.client()
    gateway.client.delete(href)
    assert files.head_object(**stored)["ContentLength"] == queued["input"]["bytes"]
    for _ in range(2):  # idempotent
        response = gateway.client.delete(href)
        assert (response.status_code, response.json()["state"]) == (200, "expired")
        with pytest.raises(ClientError, match="404"):
            files.head_object(**stored)
    gone = gateway.client.get(f"{href}/result")
    assert (gone.status_code, gone.json()["code"]) == (410, "job_expired")
    assert gateway.client.get(href).json()["state"] == "expired"


@pytest.mark.parametrize("stage", ["register", "fit"])
def test_canceling_a_running_job_frees_its_worker(
    gateway: Gateway, worker: Worker, sample: bytes, object_store: ObjectStore, stage: str
) -> None:
    job_id = gateway.submit(sample, frames=200, formats="npz")["id"]
    gateway.follow(job_id, until=lambda job: job["progress"]["stage"] == stage)
    start = time.monotonic()
    response = gateway.client.delete(f"/jobs/{job_id}")
    assert response.json()["state"] == "canceled"
    line = f"job {job_id}, attempt 1: stopped"
    while not any(line in text for text in worker.lines()):
        assert time.monotonic() - start < 5, worker.lines()[-5:]
        time.sleep(0.02)
    assert gateway.client.get(f"/jobs/{job_id}").json()["state"] == "canceled"
    found = object_store.client().list_objects_v2(Bucket=object_store.bucket, Prefix=f"jobs/{job_id}/attempt")
    assert found["KeyCount"] == 0


def test_worker_runs_the_next_job_after_a_cancellation(
    gateway: Gateway, worker: Worker, sample: bytes
) -> None:
    first = gateway.submit(sample)["id"]
    second = gateway.submit(sample, resolution=32)["id"]
    third = gateway.submit(sample, resolution=32)["id"]
    gateway.client.delete(f"/jobs/{second}")
    gateway.follow(first, until=lambda job: job["state"] == "running")
    gateway.client.delete(f"/jobs/{first}")
    assert gateway.follow(third)["state"] == "succeeded"
    ended = gateway.client.delete(f"/jobs/{third}")  # an ended job: its files are deleted
    assert ended.json()["state"] == "expired"
    assert "result" not in ended.json()
