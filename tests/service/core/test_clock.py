"""A clock that differs from that of Redis."""

import time
from typing import cast

import pytest
from redis import Redis

from service.core import clock
from service.core.clock import Clock, clock_fault, require_clock
from service.core.settings import Settings


class Shifted:
    """The time module with another wall clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def time(self) -> float:
        return time.time() + self.seconds


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, None), (50, None), (-50, None), (3600, "3,600 s ahead of that of Redis"), (-3600, "3,600 s behind")],
)
def test_wrong_clock_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, seconds: float, told: str | None
) -> None:
    monkeypatch.setattr(clock, "time", Shifted(seconds))
    with Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True) as redis:
        fault = clock_fault(redis)
    if told is None:
        assert fault is None
        require_clock(settings)
    else:
        assert fault is not None
        assert told in fault
        with pytest.raises(SystemExit, match="set it, for example by NTP"):
            require_clock(settings)


def test_one_reading_is_shared_until_the_clock_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Server:
        def time(self) -> tuple[int, int]:
            asked.append(1)
            return int(time.time()), 0

    ours = Clock(cast(Redis, Server()))
    assert [ours.fault() for _ in range(9)] == [None] * 9
    assert len(asked) == 1
    for seconds in (3600, -3600):
        monkeypatch.setattr(clock, "time", Shifted(seconds))
        assert "set it, for example by NTP" in str(ours.fault())
