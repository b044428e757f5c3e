"""Progress of a reconstruction: seconds per stage, the completed fraction, and cancellation."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

from model.errors import Canceled

OnProgress = Callable[[str, float], None]  # stage, completed fraction of the whole
IsCanceled = Callable[[], bool]

# Start and end of each stage as fractions of the total time, measured on a CPU: with registration, and with
# the motion of the network, at 128 cells per side.
REGISTERED = {"prepare": (0.0, 0.04), "register": (0.04, 0.93), "fit": (0.93, 1.0)}
FLOWING = {
    "prepare": (0.0, 0.0),
    "register": (0.0, 0.7),
    "encode": (0.0, 0.01),
    "extract": (0.01, 0.43),
    "simplify": (0.43, 0.46),
    "refine": (0.46, 0.46),
    "flow": (0.46, 0.7),
    "fit": (0.7, 1.0),
}


class StageProgress:
    """Context manager per stage: `with stage("flow") as on_progress`, called with the fraction of that stage.

    The total fraction never decreases. Once `is_canceled` returns True, `on_progress` and `ask` raise
    Canceled. Callbacks are called by one thread at a time.
    """

    def __init__(
        self,
        on_progress: OnProgress | None = None,
        is_canceled: IsCanceled | None = None,
        spans: Mapping[str, tuple[float, float]] = FLOWING,
    ) -> None:
        self.timings: dict[str, float] = {}  # seconds by stage
        self._on_progress = on_progress
        self._is_canceled = is_canceled
        self._spans = spans
        self._stage = next(iter(spans))
        self._fraction = 0.0
        self._lock = Lock()

    def ask(self) -> None:
        """Tell the stage and the fraction once more."""
        self._tell(self._stage, 0.0)

    def _tell(self, stage: str, fraction: float) -> None:
        with self._lock:
            if self._is_canceled is not None and self._is_canceled():
                raise Canceled(f"canceled in stage {stage}")
            self._fraction = max(self._fraction, fraction)
            if self._on_progress is not None:
                self._on_progress(stage, self._fraction)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[Callable[[float], None]]:
        began = time.perf_counter()
        start, end = self._spans[stage]
        self._stage = stage

        def report(fraction: float) -> None:
            self._tell(stage, start + (end - start) * min(1.0, fraction))

        report(0.0)
        yield report
        report(1.0)
        self.timings[stage] = time.perf_counter() - began
