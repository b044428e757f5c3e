"""Following a job: polling with ETag, `Prefer: wait`, and the list of jobs."""

import threading
import time
from typing import Any

import pytest

from service.core.jobs.record import JobError, Progress
from service.core.jobs.store import JobStore
from tests.integration.service_processes import Gateway


def test_unchanged_job_returns_304(gateway: Gateway, queued: dict[str, Any], jobs: JobStore) -> None:
    href = f"/jobs/{queued['id']}"
    first = gateway.client.get(href)
    etag = first.headers["etag"]
    assert first.headers["retry-after"] == "1"
    for tag in (etag, f'"other", W/{etag}', "*"):
        same = gateway.client.get(href, headers={"If-None-Match": tag})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    job = jobs.claim(queued["id"], 3)
    assert job is not None
    changed = gateway.client.get(href, headers={"If-None-Match": etag})
    assert (changed.status_code, changed.json()["state"]) == (200, "running")
    jobs.report(job, Progress(stage="extract", percent=12))
    assert gateway.client.get(href).headers["etag"] not in (etag, changed.headers["etag"])
    jobs.cancel(job.id)
    assert "retry-after" not in gateway.client.get(href).headers


def test_the_queue_position_counts_down(
    gateway: Gateway, any_model: str, sample: bytes, jobs: JobStore
) -> None:
    first, second = (gateway.submit(sample, model=any_model)["id"] for _ in range(2))

    def position() -> int | None:
        found: int | None = gateway.client.get(f"/jobs/{second}").json().get("queue_position")
        return found

    before = position()
    assert before is not None
    jobs.claim(first, 3)
    assert position() == before - 1
    jobs.claim(second, 3)
    assert position() is None


def test_prefer_wait_returns_when_the_job_ends(
    gateway: Gateway, queued: dict[str, Any], jobs: JobStore
) -> None:
    def work() -> None:
        time.sleep(0.5)
        job = jobs.claim(queued["id"], 3)
        assert job is not None
        time.sleep(0.3)
        jobs.fail(job, JobError(code="empty_surface", message="nothing there"))

    worker = threading.Thread(target=work)
    worker.start()
    start = time.monotonic()
    response = gateway.client.get(f"/jobs/{queued['id']}", headers={"Prefer": "respond-async, wait=30"})
    waited = time.monotonic() - start
    worker.join()
    assert response.json()["state"] == "failed"
    assert response.json()["error"] == {"code": "empty_surface", "message": "nothing there"}
    assert response.headers["preference-applied"] == "wait=30"
    assert 0.7 < waited < 2.5


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [("wait=1", "wait=1"), ("wait=0", "wait=0"), ("wait=soon", None), ("return=minimal", None)],
)
def test_prefer_wait_times_out(
    gateway: Gateway, queued: dict[str, Any], prefer: str, applied: str | None
) -> None:
    start = time.monotonic()
    response = gateway.client.get(f"/jobs/{queued['id']}", headers={"Prefer": prefer})
    assert response.json()["state"] == "queued"
    assert response.headers.get("preference-applied") == applied
    assert (time.monotonic() - start) // 1 == (prefer == "wait=1")


def test_prefer_wait_is_capped_and_immediate_for_ended_jobs(gateway: Gateway, queued: dict[str, Any]) -> None:
    gateway.client.delete(f"/jobs/{queued['id']}")
    start = time.monotonic()
    response = gateway.client.get(f"/jobs/{queued['id']}", headers={"Prefer": "wait=3600"})
    assert time.monotonic() - start < 1
    assert response.headers["preference-applied"] == "wait=60"


def test_list_is_paged_newest_first(gateway: Gateway, any_model: str, sample: bytes) -> None:
    created = [gateway.submit(sample, model=any_model)["id"] for _ in range(7)]
    seen: list[str] = []
    address = "/jobs?limit=3"
    while len(seen) < 7:
        response = gateway.client.get(address).raise_for_status()
        seen += [job["id"] for job in response.json()["jobs"]]
        if len(seen) == 3:
            created.append(gateway.submit(sample, model=any_model)["id"])  # must not affect later pages
        address = response.links["next"]["url"]
        assert f"cursor={response.json()['next_cursor']}" in address
    assert seen[:7] == created[:7][::-1]


def test_list_can_be_filtered_by_state(
    gateway: Gateway, any_model: str, sample: bytes, jobs: JobStore
) -> None:
    created = [gateway.submit(sample, model=any_model)["id"] for _ in range(3)]
    jobs.claim(created[1], 3)
    running = []
    cursor: str | None = ""
    while cursor is not None:
        page = gateway.client.get(
            "/jobs", params={"state": "running", "limit": "2"} | ({"cursor": cursor} if cursor else {})
        )
        running += page.json()["jobs"]
        cursor = page.json().get("next_cursor")
    assert {job["state"] for job in running} == {"running"}
    assert created[1] in [job["id"] for job in running]
    assert not {created[0], created[2]} & {job["id"] for job in running}


@pytest.mark.parametrize("cursor", ["nonsense", "!", "AAAA", "OTk5OSBh", "é"])
def test_invalid_cursor_is_refused(gateway: Gateway, cursor: str) -> None:
    response = gateway.client.get("/jobs", params={"cursor": cursor})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert response.json()["errors"][0]["key"] == "cursor"
