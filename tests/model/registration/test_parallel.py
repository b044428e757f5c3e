"""Work on threads: in order, and with the errors of what was run."""

import threading

import pytest

from model.registration.parallel import beside, side_by_side


def test_results_are_in_order_and_items_meet() -> None:
    barrier = threading.Barrier(2, timeout=10)

    def meet(item: int) -> int:
        barrier.wait()  # passed only if both run at the same time
        return -item

    assert side_by_side(meet, [3, 1]) == [-3, -1]
    assert side_by_side(lambda item: -item, [5]) == [-5]


def test_errors_are_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda item: 1 // item, [1, 0, 2])


def test_work_goes_on_beside_a_block() -> None:
    barrier = threading.Barrier(2, timeout=10)

    def meet() -> str:
        barrier.wait()
        return "met"

    with beside(meet) as result:
        barrier.wait()
        assert result() == "met"
    with pytest.raises(ZeroDivisionError), beside(lambda: 1 // 0) as quotient:
        quotient()
