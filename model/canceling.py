"""Cancellation points, as in POSIX threads: places in long work at which it may be given up.

    with canceled_by(ask):  # ask raises Canceled
        for cloud in cancelable(clouds):
            ...

Loops over frames have such points without being handed a callback. Threads inherit `ask` from a copy of the
context that they run in.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


def _never() -> None:
    pass


_ask: ContextVar[Callable[[], None]] = ContextVar("ask", default=_never)


@contextmanager
def canceled_by(ask: Callable[[], None]) -> Iterator[None]:
    """Call `ask` at every cancellation point that is reached within, on any thread of the work."""
    token = _ask.set(ask)
    try:
        yield
    finally:
        _ask.reset(token)


def cancellation_point() -> None:
    """Ask whether to go on."""
    _ask.get()()


def cancelable(items: Iterable[T]) -> Iterator[T]:
    """The items, each after a cancellation point."""
    for item in items:
        cancellation_point()
        yield item
