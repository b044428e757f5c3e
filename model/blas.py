"""One thread for the products and decompositions of numpy and scipy, where their matrices are small."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS uses one thread in the whole process, and then as many as before.

    Of small matrices threads that wait for each other cost more than they save, most of all on busy cores. Of
    calls that overlap on several threads, the first decides.
    """
    with _libraries().limit(limits=1):
        yield


@cache
def _libraries() -> ThreadpoolController:
    """The BLAS libraries that are loaded; to look for them takes milliseconds."""
    return ThreadpoolController().select(user_api="blas")
