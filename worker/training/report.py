"""What a run tells: a progress bar, TensorBoard scalars and pictures, and what it will cost."""

import time
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

MEASURED_STEPS = 20  # after as many again, that warm up, the cost is told


class Report:
    """Of one process; with `quiet` it says and writes nothing. A run has a last step, an end in time, both or
    neither.
    """

    def __init__(
        self,
        folder: Path,
        first_step: int,
        last_step: int | None,
        minutes: float | None = None,
        quiet: bool = False,
    ) -> None:
        self.console = Console(soft_wrap=True, quiet=quiet)
        self.first_step, self.last_step, self.minutes = first_step, last_step, minutes
        self.began = self.line_at = time.monotonic()
        self.line_it, self.line_waited = first_step, 0.0  # at the last printed line
        # Steps, time and seconds waited when the measured steps began; then, that the cost is told.
        self.warm: tuple[int, float, float] | None = None
        self.is_told = False
        self.writer = None if quiet else SummaryWriter(str(folder / "logs"), purge_step=first_step)
        columns = (
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=self.console, disable=quiet or not self.console.is_terminal)
        self.task = self.bar.add_task("", total=1.0 if last_step or minutes else None)

    def __enter__(self) -> "Report":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        if self.writer is not None:
            self.writer.close()

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False)

    def step(self, it: int, share: float, smoothed_loss: float, seconds_waited: float) -> None:
        """After the step that makes `it` of them, with this share of the run over, 0 … 1."""
        now, done = time.monotonic(), it - self.first_step
        rate = done / (now - self.began)
        text = f"loss {smoothed_loss:.4f}, {rate:.2f} it/s"
        steps = f"{it}/{self.last_step}" if self.last_step else str(it)
        self.bar.update(self.task, completed=share, description=f"step {steps}, {text}")
        if self.warm is None and done >= MEASURED_STEPS:
            self.warm = done, now, seconds_waited
        elif self.warm is not None and not self.is_told and done >= self.warm[0] + MEASURED_STEPS:
            first, began, waited = self.warm
            self.say(self._cost((now - began) / (done - first), (seconds_waited - waited) / (done - first)))
            self.is_told = True

    def line(self, epoch: int, it: int, loss: float, batch_size: int | None, seconds_waited: float) -> None:
        """What `training.print_every` asks for, with the rate since the last one: of items, or of steps."""
        now = time.monotonic()
        seconds = max(now - self.line_at, 1e-9)
        rate = (it - self.line_it) / seconds
        speed = f"{rate:.2f} it/s" if batch_size is None else f"{rate * batch_size:.1f} items/s"
        share = (seconds_waited - self.line_waited) / seconds
        self.say(f"[Epoch {epoch:02d}] it={it:03d}, loss={loss:.4f}, {speed}, {share:.0%} waiting for data")
        self.line_at, self.line_it, self.line_waited = now, it, seconds_waited

    def scalars(self, it: int, values: dict[str, float], group: str) -> None:
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f"{group}/{name}", value, it)

    def image(self, it: int, name: str, pixels: NDArray[np.uint8]) -> None:
        if self.writer is not None:
            self.writer.add_image(name, pixels, it, dataformats="HWC")

    def _cost(self, seconds: float, waited: float) -> str:
        steps = self.last_step - self.first_step if self.last_step else 100_000
        span = "the steps to training.max_iterations" if self.last_step else "100,000 steps"
        cost = f"measured: {seconds:.3f} s a step, so {span} take {_duration(steps * seconds)}"
        if self.minutes:
            cost += f", and training.max_minutes are {60 * self.minutes / seconds:,.0f} steps"
        if waited > 0.2 * seconds:
            cost += f"; {waited:.3f} s of it waiting for data: more training.num_workers may help"
        return cost


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
