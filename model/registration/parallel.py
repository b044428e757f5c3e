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

    def run(item: T) -> R:
        cancellation_point()
        return function(item)

    workers = min(len(items), threads or os.cpu_count() or 1)
    if workers < 2:
        return [run(item) for item in items]
    contexts = [copy_context() for _ in items]  # cancellation points work on the threads, too
    with thread_pool(workers) as pool:
        return list(pool.map(lambda context, item: context.run(run, item), contexts, items))


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
