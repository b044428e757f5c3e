"""Work side by side on threads: the loops are compiled and release the interpreter lock."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import TypeVar

from model.canceling import cancellation_point

ROOM = 10 * 2**20  # bytes that a thread takes to start: its stack and what Python needs
T = TypeVar("T")
R = TypeVar("R")


def side_by_side(function: Callable[[T], R], items: Sequence[T], threads: int | None = None) -> list[R]:
    """Results for each item, in their order. An exception of the first that fails is raised.

    At most `threads` run, by default one a core. Before each item is a cancellation point.
    """

    workers = min(len(items), cores(threads))
    results: dict[int, R] = {}
    errors: dict[int, BaseException] = {}
    numbers = iter(range(len(items)))  # threads may share it

    def work() -> None:
        for number in numbers:
            try:
                cancellation_point()
                results[number] = function(items[number])
            except BaseException as error:
                errors[number] = error
                list(numbers)  # nothing more is begun

    if workers < 2:
        work()
    else:
        with thread_pool(workers) as pool:
            for _ in range(workers):  # cancellation points work on the threads, too
                pool.submit(copy_context().run, work)
    if errors:
        raise errors[min(errors)]
    return [results[number] for number in range(len(items))]


def cores(threads: int | None) -> int:
    """How many threads to use: as given, or one a core."""
    return threads or os.cpu_count() or 1


@contextmanager
def beside(function: Callable[[], R]) -> Iterator[Callable[[], R]]:
    """Run a function on a thread while the block runs; within, call what is yielded for its result."""
    with thread_pool(1) as pool:
        yield pool.submit(copy_context().run, function).result


def thread_pool(workers: int) -> ThreadPoolExecutor:
    """A pool of threads. Raises MemoryError if there is no memory to start them.

    Python would wait for ever for a thread that begins without any.
    """
    bytearray(workers * ROOM)  # freed at once; its pages are never touched
    return ThreadPoolExecutor(workers)
