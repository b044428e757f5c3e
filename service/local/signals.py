"""Deferred signal handling."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

DEFERRED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Defer termination signals until the block has finished.

    Otherwise a signal between forking a child and storing its handle would leave the child unmanaged. Masking
    the signals instead is not an option, as the child would inherit the mask.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signal handlers only run in the main thread
        return
    received: list[tuple[int, FrameType | None]] = []
    handlers = {
        number: signal.signal(number, lambda number, frame: received.append((number, frame)))
        for number in DEFERRED
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for late, frame in received:
            handler = handlers[signal.Signals(late)]
            if callable(handler):
                handler(late, frame)
            elif handler == signal.SIG_DFL:
                signal.raise_signal(late)


def exit_on_signals() -> None:
    """End on SIGTERM and SIGHUP as on Ctrl-C, so that every part is stopped in turn."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    for further in (signal.SIGTERM, signal.SIGHUP):  # the parts are being stopped already
        signal.signal(further, signal.SIG_IGN)
    raise SystemExit(128 + number)
