"""When a run ends before its last step: a signal, a time limit, or a loss that is lost."""

import math
import signal
import time
from types import FrameType

from model.errors import ModelError

EXIT_DONE, EXIT_REFUSED, EXIT_STOPPED, EXIT_DIVERGED = 0, 2, 3, 4  # 3 as published: saved, run again to go on

SMOOTHING = 0.98
PATIENCE = 100  # steps before the smoothed loss means anything
EXPLOSION = 10.0  # times the least smoothed loss so far


class DivergedError(ModelError):
    """The loss is not finite, or has grown far beyond what it was."""

    code = "training_diverged"


class Stop:
    """Whether to save and leave: after SIGTERM, SIGINT or `seconds`. A second signal ends at once."""

    def __init__(self, seconds: float | None = None) -> None:
        self.ends = math.inf if seconds is None else time.monotonic() + seconds
        self.signalled: str | None = None

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal calls it
        self.signalled = signal.Signals(number).name
        signal.signal(number, signal.SIG_DFL)

    @property
    def wanted(self) -> bool:
        return self.signalled is not None or time.monotonic() >= self.ends

    @property
    def reason(self) -> str:
        return self.signalled or "the time of --exit-after is over"


class LossWatch:
    """Smooths the loss and notices when it is lost."""

    def __init__(self) -> None:
        self.last = math.nan  # loss
        self.smoothed: float | None = None
        self.least = math.inf
        self.seen = 0

    def check(self, loss: float, gradient_norm: float) -> None:
        """Raises DivergedError for a loss or gradient that is not finite, and for an exploded loss."""
        if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
            raise DivergedError(f"the loss is {loss:g} and the norm of its gradient {gradient_norm:g}")
        self.seen += 1
        self.last = loss
        self.smoothed = loss if self.smoothed is None else SMOOTHING * self.smoothed + (1 - SMOOTHING) * loss
        if self.seen < PATIENCE:
            return
        self.least = min(self.least, self.smoothed)
        if self.smoothed > EXPLOSION * self.least:
            raise DivergedError(f"the smoothed loss rose from {self.least:.4g} to {self.smoothed:.4g}")
