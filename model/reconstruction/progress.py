"""The stages of one reconstruction: how long each took, how far the whole is, whether it is still wanted."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from model.errors import Canceled

Progress = Callable[[str, float], None]  # stage, fraction of the whole
IsCanceled = Callable[[], bool]

# From where to where each stage runs in the time of the whole, as measured on a CPU at 128 cells per side.
SPANS = {
    "encode": (0.0, 0.01),
    "extract": (0.01, 0.43),
    "simplify": (0.43, 0.46),
    "flow": (0.46, 0.7),
    "fit": (0.7, 1.0),
}


class StageProgress:
    """`with stages("flow") as advance: …` where `advance(fraction)` says how far the stage is.

    At each word of progress the caller may cancel: Canceled is raised from there.
    """

    def __init__(self, progress: Progress | None, is_canceled: IsCanceled | None) -> None:
        self.timings: dict[str, float] = {}  # seconds by stage
        self._progress = progress
        self._is_canceled = is_canceled
        self._reached = 0.0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[Callable[[float], None]]:
        began = time.perf_counter()
        start, end = SPANS[stage]

        def advance(fraction: float) -> None:
            if self._is_canceled is not None and self._is_canceled():
                raise Canceled(f"canceled in stage {stage}")
            self._reached = max(self._reached, start + (end - start) * min(1.0, fraction))
            if self._progress is not None:
                self._progress(stage, self._reached)

        advance(0.0)
        yield advance
        advance(1.0)
        self.timings[stage] = time.perf_counter() - began
