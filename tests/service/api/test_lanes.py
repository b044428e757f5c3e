"""Blocking calls in threads of their own: bounded, with a deadline."""

import asyncio
import threading
import time

import pytest

from service.api.http.problems import Problem
from service.api.lanes import Lane


def test_result_and_error_of_a_call() -> None:
    lane = Lane("storage_unavailable", "The store", 1, 5)
    assert asyncio.run(lane.run(divmod, 7, 2)) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(lane.run(divmod, 7, 0))


def test_call_that_hangs_is_answered_and_keeps_its_thread() -> None:
    lane, release, ran = Lane("storage_unavailable", "The store", 2, 0.2), threading.Event(), list[int]()

    async def ask() -> list[object]:
        hang = [lane.run(release.wait, 10) for _ in range(2)]
        return await asyncio.gather(
            *hang, *(lane.run(ran.append, n) for n in range(20)), return_exceptions=True
        )

    start = time.monotonic()
    answers = asyncio.run(ask())
    assert time.monotonic() - start < 2
    for answer in answers:
        assert isinstance(answer, Problem)
        assert answer.status == 503
        assert answer.details.code == "storage_unavailable"
        assert "The store did not answer within 0.2 s" in answer.details.detail
    release.set()
    assert asyncio.run(lane.run(abs, -1)) == 1
    assert ran == []  # calls that were refused are not made later


def test_patient_lane_bounds_only_the_wait_for_a_thread() -> None:
    lane = Lane("busy", "A thread", 1, 0.2, patient=True)

    async def ask() -> tuple[object, object]:
        return await asyncio.gather(lane.run(time.sleep, 0.6), lane.run(abs, -1), return_exceptions=True)

    done, refused = asyncio.run(ask())
    assert done is None
    assert isinstance(refused, Problem)
    assert refused.details.code == "busy"


def test_iterator_is_read_in_the_lane() -> None:
    lane = Lane("storage_unavailable", "The store", 1, 5)

    async def read() -> list[bytes]:
        return [chunk async for chunk in lane.iterate(iter([b"a", b"b"]))]

    assert asyncio.run(read()) == [b"a", b"b"]


def test_one_owner_occupies_half_of_the_threads() -> None:
    lane, release = Lane("busy", "A thread", 4, 5, patient=True), threading.Event()

    async def ask() -> tuple[int, int, list[bool]]:
        greedy = [asyncio.create_task(lane.run_for("greedy", release.wait, 10)) for _ in range(6)]
        await asyncio.sleep(0.1)
        greedy.pop().cancel()  # while it waits
        greedy.pop(0).cancel()  # its thread goes on, and still counts
        await asyncio.sleep(0.1)
        others = await asyncio.gather(*(lane.run_for(name, abs, -1) for name in ("a", "b", "c")))
        waiting = sum(not task.done() for task in greedy)
        release.set()
        return sum(others), waiting, await asyncio.gather(*greedy)

    assert asyncio.run(ask()) == (3, 4, [True] * 4)


def test_owner_that_waits_too_long_for_its_own_calls_is_refused() -> None:
    lane = Lane("busy", "A thread", 2, 0.2, patient=True)

    async def ask() -> tuple[object, object]:
        first, second = (lane.run_for("greedy", time.sleep, 0.6) for _ in range(2))
        return await asyncio.gather(first, second, return_exceptions=True)

    done, refused = asyncio.run(ask())
    assert done is None
    assert isinstance(refused, Problem)
    assert refused.details.code == "busy"
