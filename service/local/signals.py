"""Holding Ctrl-C back for a moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_held() -> Iterator[None]:
    """What asks this process to end waits until the block is over.

    A child between its fork and the line that remembers it would otherwise be nobody's. The signals are not
    masked, which the child would inherit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread alone
        return
    arrived: list[tuple[int, FrameType | None]] = []
    handlers = {
        number: signal.signal(number, lambda number, frame: arrived.append((number, frame)))
        for number in HELD
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for late, frame in arrived:
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
    raise SystemExit(128 + number)
