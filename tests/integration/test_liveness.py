"""The thread that watches a worker from within, on a real Redis."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from service.queue import queue_name
from service.settings import Settings
from worker import liveness
from worker.liveness import SILENCE, UNACKED_INDEX, Liveness
from worker.parts import Parts


@pytest.fixture
def parts(settings: Settings) -> Parts:
    return Parts(settings.model_copy(update={"model": "watched"}))


@pytest.fixture
def watcher(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Liveness]:
    """A watcher that would end the test's own process: what it says is recorded instead."""
    watcher = Liveness(parts)
    watcher.ended: list[str] = []  # type: ignore[attr-defined,misc]
    monkeypatch.setattr(watcher, "_exit", watcher.ended.append)  # type: ignore[attr-defined]
    yield watcher
    parts.redis.delete(queue_name("watched"), UNACKED_INDEX)
    watcher.stop()


def hold(monkeypatch: pytest.MonkeyPatch, *requests: Any) -> None:
    monkeypatch.setattr(liveness.state, "reserved_requests", list(requests))


def delivery(job_id: str, tag: str) -> Any:
    return SimpleNamespace(id=job_id, message=SimpleNamespace(delivery_tag=tag))


def test_it_beats_in_the_registry_and_leaves(watcher: Liveness, parts: Parts) -> None:
    watcher.beat()
    assert parts.registry.workers()["watched"] == 1
    watcher.stop()
    assert "watched" not in parts.registry.workers()


def test_a_running_delivery_is_renewed_and_a_finished_one_is_not_brought_back(
    watcher: Liveness, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = time.time() - 1000
    parts.redis.zadd(UNACKED_INDEX, {"running": long_ago})
    hold(monkeypatch, delivery("a", "running"), delivery("b", "finished"))
    watcher.beat()
    assert parts.redis.zscore(UNACKED_INDEX, "running") > long_ago + 900
    assert parts.redis.zscore(UNACKED_INDEX, "finished") is None


def test_a_job_far_beyond_its_deadline_is_let_go(
    watcher: Liveness, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(monkeypatch, delivery("old", "tag"))
    watcher.beat()
    watcher.seen["old"] -= parts.settings.job_deadline_seconds + 61
    parts.redis.zadd(UNACKED_INDEX, {"tag": 1.0})
    watcher.beat()
    assert parts.redis.zscore(UNACKED_INDEX, "tag") == 1.0
    assert "job old" in watcher.ended[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("waiting", "busy", "ends"), [(1, False, True), (0, False, False), (1, True, False)])
def test_a_worker_ends_when_jobs_wait_and_it_starts_none(
    watcher: Liveness, parts: Parts, monkeypatch: pytest.MonkeyPatch, waiting: int, busy: bool, ends: bool
) -> None:
    hold(monkeypatch, *([delivery("a", "tag")] if busy else []))
    for _ in range(waiting):
        parts.redis.lpush(queue_name("watched"), "a message that nobody takes")
    watcher.beat()
    assert not watcher.ended  # type: ignore[attr-defined]
    watcher.last_busy -= SILENCE + 1
    watcher.beat()
    assert bool(watcher.ended) is ends  # type: ignore[attr-defined]
