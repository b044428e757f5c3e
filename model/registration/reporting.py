"""Progress of work in several parts, which may run side by side, and the question whether to go on."""

import itertools
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from model.errors import Canceled

T = TypeVar("T")
R = TypeVar("R")


class Report:
    """Call it with the completed fraction; it raises Canceled where the caller asked to stop.

    The callbacks are called by one thread at a time, with fractions that never fall.
    """

    def __init__(
        self, progress: Callable[[float], None] | None, is_canceled: Callable[[], bool] | None
    ) -> None:
        self._progress, self._is_canceled = progress, is_canceled
        self._lock = Lock()
        self._reached = 0.0

    def __call__(self, fraction: float) -> None:
        with self._lock:
            if self._is_canceled is not None and self._is_canceled():
                raise Canceled("the registration was canceled")
            self._reached = max(self._reached, fraction)
            if self._progress is not None:
                self._progress(self._reached)

    def each(self, function: Callable[[T], R], begin: float, end: float, count: int) -> Callable[[T], R]:
        """The function, with a report after each of `count` calls: the work between two fractions."""
        done = itertools.count(1)

        def call(item: T) -> R:
            result = function(item)
            self(begin + (end - begin) * next(done) / count)
            return result

        return call

    def parts(self, begin: float, end: float, count: int) -> list[Callable[[float], None]]:
        """A report for each of `count` equal parts of the work between two fractions of the whole."""
        completed = [0.0] * count

        def part(number: int) -> Callable[[float], None]:
            def report(fraction: float) -> None:
                completed[number] = fraction
                self(begin + (end - begin) * sum(completed) / count)

            return report

        return [part(number) for number in range(count)]
