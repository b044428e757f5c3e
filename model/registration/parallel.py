"""Work side by side on threads: the loops are compiled and release the interpreter lock."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(function: Callable[[T], R], items: Sequence[T], threads: int | None = None) -> list[R]:
    """Results for each item, in their order. An exception of the first that fails is raised.

    At most `threads` run, by default one a core.
    """
    workers = min(len(items), threads or os.cpu_count() or 1)
    if workers < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, items))
