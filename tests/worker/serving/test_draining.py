"""When a worker puts its stop off."""

import signal
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from worker.serving.draining import Drain


@pytest.fixture
def asked() -> Iterator[list[float]]:
    """Times at which this process was told to stop."""
    found: list[float] = []

    def note(number: int, frame: FrameType | None) -> None:
        found.append(time.monotonic())

    before = signal.signal(signal.SIGTERM, note)
    yield found
    signal.signal(signal.SIGTERM, before)


def until_asked(asked: list[float]) -> float:
    began = time.monotonic()
    while not asked:
        assert time.monotonic() - began < 10
        time.sleep(0.02)
    return asked[0] - began


def test_an_idle_worker_stops_at_once(asked: list[float]) -> None:
    assert not Drain(60, lambda: False, pytest.fail).begin()
    assert not Drain(0, lambda: True, pytest.fail).begin()
    assert asked == []


def test_a_busy_worker_stops_once_it_is_idle_or_out_of_time(asked: list[float]) -> None:
    jobs, stopped = ["job"], []
    drain = Drain(60, lambda: bool(jobs), lambda: stopped.append(True))
    assert drain.begin()
    assert stopped == [True]
    assert not drain.begin(), "a second request stops at once"
    time.sleep(0.3)
    assert asked == []
    jobs.clear()
    assert until_asked(asked) < 1
    asked.clear()
    assert Drain(0.5, lambda: True, lambda: None).begin()
    assert 0.3 < until_asked(asked) < 3
