"""The worker's watchdog thread with a real Redis."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state

from service.core import clock
from service.core.queue import queue_name
from service.core.settings import Settings
from tests.integration.service_processes import ANY_INPUT
from worker.serving.context import WorkerContext
from worker.serving.spool import Spool
from worker.serving.storing import Storing
from worker.serving.watchdog import IDLE_SECONDS, UNACKED_INDEX, Watchdog

WATCHED = ANY_INPUT.model_copy(update={"name": "watched"})


@pytest.fixture
def context(settings: Settings) -> WorkerContext:
    return WorkerContext(settings.model_copy(update={"model": "watched"}))


@pytest.fixture
def watcher(context: WorkerContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Watchdog]:
    """A watchdog that records its exit reasons instead of stopping the process."""
    watcher = Watchdog(context, Storing(context, Spool(tmp_path)))
    watcher.ended: list[str] = []  # type: ignore[attr-defined,misc]
    monkeypatch.setattr(watcher, "_exit", watcher.ended.append)  # type: ignore[attr-defined]
    yield watcher
    context.redis.delete(queue_name("watched"), UNACKED_INDEX)
    context.redis.hdel(context.registry.models_key, "watched")
    watcher.stop()


def hold(monkeypatch: pytest.MonkeyPatch, *requests: Any) -> None:
    monkeypatch.setattr(state, "reserved_requests", list(requests))


def delivery(job_id: str, tag: str) -> Any:
    return SimpleNamespace(id=job_id, message=SimpleNamespace(delivery_tag=tag))


def test_worker_with_a_wrong_clock_exits(watcher: Watchdog, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher.beat()
    assert watcher.ended == []  # type: ignore[attr-defined]
    monkeypatch.setattr(clock, "MOST_SECONDS", -1)
    watcher.beat()
    [reason] = watcher.ended  # type: ignore[attr-defined]
    assert "set it, for example by NTP" in reason


def test_heartbeat_starts_with_the_model_and_is_removed_on_stop(
    watcher: Watchdog, context: WorkerContext
) -> None:
    watcher.beat()
    assert "watched" not in context.registry.workers(), "its child still loads the model"
    watcher.storing.spool.announce(WATCHED)
    watcher.beat()
    assert context.registry.workers()["watched"] == 1
    watcher.stop()
    assert "watched" not in context.registry.workers()
    assert context.redis.hget(context.registry.loaded_key, f"watched/{watcher.worker}") is None


def test_beats_repeat_what_a_redis_without_data_has_forgotten(
    watcher: Watchdog, context: WorkerContext
) -> None:
    registry = context.registry
    registry.announce(WATCHED.model_copy(update={"checkpoint_sha256": "1" * 64}))  # a later worker's
    watcher.storing.spool.announce(WATCHED)
    watcher.beat()
    assert registry.models()["watched"].checkpoint_sha256 == "1" * 64, "a beat replaces no announcement"
    context.redis.delete(registry.workers_key, registry.loaded_key)
    context.redis.hdel(registry.models_key, "watched")
    watcher.beat()
    assert registry.models()["watched"] == WATCHED
    assert registry.workers()["watched"] == 1


def test_workers_with_different_weights_are_told_apart(context: WorkerContext) -> None:
    registry, other = context.registry, WATCHED.model_copy(update={"checkpoint_sha256": "1" * 64})
    for number, model in enumerate([WATCHED, WATCHED, other]):
        registry.beat(f"host:{number}", model, 60)
    assert registry.checkpoints()["watched"] == {"0" * 64: 2, "1" * 64: 1}
    registry.beat("host:0", WATCHED, -1)
    registry.leave("host:2", "watched")
    assert registry.checkpoints()["watched"] == {"0" * 64: 1}
    registry.leave("host:1", "watched")
    assert "watched" not in registry.checkpoints()


def test_only_running_deliveries_are_renewed(
    watcher: Watchdog, context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = time.time() - 1000
    context.redis.zadd(UNACKED_INDEX, {"running": long_ago})
    hold(monkeypatch, delivery("a", "running"), delivery("b", "finished"))
    watcher.beat()
    assert (context.redis.zscore(UNACKED_INDEX, "running") or 0) > long_ago + 900
    assert context.redis.zscore(UNACKED_INDEX, "finished") is None


def test_watchdog_exits_for_a_job_far_beyond_its_deadline(
    watcher: Watchdog, context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(monkeypatch, delivery("old", "tag"))
    watcher.beat()
    watcher.seen["old"] -= context.settings.job_deadline_seconds + 2 * context.settings.storing_seconds + 61
    context.redis.zadd(UNACKED_INDEX, {"tag": 1.0})
    watcher.beat()
    assert context.redis.zscore(UNACKED_INDEX, "tag") == 1.0
    assert "job old" in watcher.ended[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("waiting", "busy", "ends"), [(1, False, True), (0, False, False), (1, True, False)])
def test_idle_worker_exits_while_jobs_wait(
    watcher: Watchdog,
    context: WorkerContext,
    monkeypatch: pytest.MonkeyPatch,
    waiting: int,
    busy: bool,
    ends: bool,
) -> None:
    hold(monkeypatch, *([delivery("a", "tag")] if busy else []))
    for _ in range(waiting):
        context.redis.lpush(queue_name("watched"), "a message that nobody takes")
    watcher.beat()
    assert not watcher.ended  # type: ignore[attr-defined]
    watcher.last_busy -= IDLE_SECONDS + 1
    watcher.beat()
    assert bool(watcher.ended) is ends  # type: ignore[attr-defined]
