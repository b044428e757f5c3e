"""One thread for the products and decompositions of numpy and scipy, where their matrices are small."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController

_lock = Lock()
_limit = ExitStack()  # what puts the threads back
_calls = 0  # that want one thread


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS uses one thread in the whole process, and as many as before once the last such call has ended.

    Of small matrices threads that wait for each other cost more than they save, most of all on busy cores.
    """
    global _calls
    with _lock:
        if not _calls:
            _limit.enter_context(_libraries().limit(limits=1))
        _calls += 1
    try:
        yield
    finally:
        with _lock:
            _calls -= 1
            if not _calls:
                _limit.close()


@cache
def _libraries() -> ThreadpoolController:
    """The BLAS libraries that are loaded; to look for them takes milliseconds."""
    return ThreadpoolController().select(user_api="blas")
