"""Server-sent events of a job: live, resumed from any event, and heartbeats."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.api.dependencies import GatewayContext
from service.api.routes import events
from service.core.jobs import events as job_events
from service.core.jobs.record import Job, Progress
from service.core.jobs.store import JobStore
from service.core.settings import Settings
from tests.integration.service_processes import Gateway, Worker

Event = dict[str, Any]


def parsed(lines: Iterator[str]) -> Iterator[Event]:
    """Parse an event stream like a browser."""
    event: Event = {}
    for line in lines:
        if line.startswith(":"):
            continue
        if not line:
            if event:
                yield event | {"data": json.loads(event["data"]), "id": int(event["id"])}
            event = {}
            continue
        name, _, value = line.partition(": ")
        event[name] = value


def follow(gateway: Gateway, job_id: str, after: int | None = None) -> list[Event]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    with gateway.client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        return list(parsed(response.iter_lines()))


@pytest.fixture(scope="module")
def followed(gateway: Gateway, worker: Worker, sample: bytes) -> tuple[str, list[Event]]:
    """The id of a job followed while it ran, and its events."""
    job_id = gateway.submit(sample)["id"]
    return job_id, follow(gateway, job_id)


def test_events_are_numbered_in_order(followed: tuple[str, list[Event]]) -> None:
    _, received = followed
    assert [event["id"] for event in received] == list(range(1, len(received) + 1))
    states = [event["data"]["state"] for event in received if event["event"] == "state"]
    assert states == ["queued", "running", "succeeded"]
    stages = list(dict.fromkeys(event["data"]["progress"]["stage"] for event in received))
    assert stages == ["queued", "fetch", "prepare", "register", "fit", "write", "done"]
    percents = [event["data"]["progress"]["percent"] for event in received]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    timestamps = [event["data"]["at"] for event in received]
    assert timestamps == sorted(timestamps)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_stream_resumes_after_last_event_id(
    gateway: Gateway, followed: tuple[str, list[Event]], after: int
) -> None:
    job_id, received = followed
    assert follow(gateway, job_id, after) == received[after:]


def test_stream_after_the_last_event_is_204(gateway: Gateway, followed: tuple[str, list[Event]]) -> None:
    job_id, received = followed
    headers = {"Last-Event-ID": str(received[-1]["id"])}
    assert gateway.client.get(f"/jobs/{job_id}/events", headers=headers).status_code == 204
    for wrong in ("x", "-1", "9" * 20):
        response = gateway.client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": wrong})
        assert response.status_code == 422


def test_events_reach_all_subscribers_promptly(
    gateway: Gateway, queued: dict[str, Any], jobs: JobStore
) -> None:
    seen: list[tuple[str, float]] = []

    def read() -> None:
        with httpx.stream(
            "GET", f"{gateway.client.base_url}/jobs/{queued['id']}/events", trust_env=False, timeout=30
        ) as response:
            seen.extend((event["data"]["state"], time.monotonic()) for event in parsed(response.iter_lines()))

    readers = [threading.Thread(target=read) for _ in range(20)]
    for reader in readers:
        reader.start()
    end = time.monotonic() + 10
    while len(seen) < 20 and time.monotonic() < end:
        time.sleep(0.02)
    began = time.monotonic()
    jobs.claim(queued["id"], 3)
    time.sleep(0.5)
    jobs.cancel(queued["id"])
    for reader in readers:
        reader.join(10)
    assert [state for state, _ in sorted(seen, key=lambda item: item[1])] == (
        ["queued"] * 20 + ["running"] * 20 + ["canceled"] * 20
    )
    assert max(at for state, at in seen if state == "running") - began < 0.5


@pytest.fixture
def job(jobs: JobStore, queued: dict[str, Any]) -> Job:
    found = jobs.claim(queued["id"], 3)
    assert found is not None
    return found


def test_heartbeat_is_sent_without_events(
    settings: Settings, job: Job, jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", 0.3)
    monkeypatch.setattr(events, "RECHECK_SECONDS", 0.1)
    context = GatewayContext(settings)

    async def read() -> list[bytes]:
        received = []
        async for chunk in events._events(context, job, 2):
            received.append(chunk)
            if len(received) == 2:
                jobs.report(job, Progress(stage="flow", percent=50))
            if len(received) == 4:
                jobs.cancel(job.id)
        return received

    received = asyncio.run(asyncio.wait_for(read(), 10))  # without notifications, by rechecking
    assert [chunk.startswith(b":") for chunk in received] == [True, True, False, True, False]


def test_old_events_are_dropped(job: Job, jobs: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "MAX_EVENTS", 100)
    for percent in range(400):
        jobs.report(job, Progress(stage="flow", percent=percent / 4))
    numbers = [number for number, _, _ in jobs.events.after(job.id, 0)]
    assert 100 <= len(numbers) < 250  # Redis trims streams in blocks
    assert numbers == list(range(403 - len(numbers), 403))


def test_shutdown_ends_event_streams(server_env: dict[str, str], any_model: str, sample: bytes) -> None:
    process = Gateway(server_env)
    process.start()
    try:
        process.wait_until_ready(60)
        job_id = process.submit(sample, model=any_model)["id"]
        with process.client.stream("GET", f"/jobs/{job_id}/events") as response:
            lines = response.iter_lines()
            next(lines)
            began = time.monotonic()
            process.ask_to_stop()
            list(lines)  # ends properly instead of being cut off
        while process.is_running:
            assert time.monotonic() - began < 3
            time.sleep(0.02)
        assert not any("Traceback" in line for line in process.log.tail("gateway", 2000))
    finally:
        process.stop()
