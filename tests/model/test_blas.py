"""How many threads numpy and scipy use."""

from collections.abc import Iterator

import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from model.blas import one_blas_thread


def threads() -> set[int]:
    return {library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info()}


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    with threadpool_limits(limits=2, user_api="blas"):
        if threads() != {2}:
            pytest.skip("BLAS cannot use two threads here")
        yield


def test_blas_has_one_thread_and_then_as_many_as_before() -> None:
    for _ in range(2):
        with one_blas_thread():
            assert threads() == {1}
        assert threads() == {2}


def test_calls_may_be_nested() -> None:
    with one_blas_thread():
        with one_blas_thread():
            assert threads() == {1}
        assert threads() == {1}
    assert threads() == {2}


def test_calls_may_overlap() -> None:
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert threads() == {1}
    second.__exit__(None, None, None)
    assert threads() == {2}
