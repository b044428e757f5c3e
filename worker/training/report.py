"""What a run tells: a progress bar, TensorBoard scalars and pictures, and what it will cost."""

import time
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch.utils.tensorboard import SummaryWriter

MEASURED_STEPS = 20  # after as many again, that warm up, the cost is told
LINE_EVERY = 30.0  # seconds between lines where there is no terminal to draw a bar in


class Report:
    """Of one process; with `quiet` it says and writes nothing."""

    def __init__(self, folder: Path, first_step: int, last_step: int | None, quiet: bool = False) -> None:
        self.console = Console(soft_wrap=True, quiet=quiet)
        self.first_step, self.last_step = first_step, last_step
        self.began = self.said = time.monotonic()
        self.warm = (0.0, 0.0)  # when the measured steps began, and the seconds waited until then
        self.writer = None if quiet else SummaryWriter(str(folder / "logs"), purge_step=first_step)
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=self.console, disable=quiet or not self.console.is_terminal)
        self.task = self.bar.add_task("", total=last_step, completed=first_step)

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

    def step(self, it: int, smoothed_loss: float, seconds_waited: float) -> None:
        """After the step that makes `it` of them."""
        now, done = time.monotonic(), it - self.first_step
        rate = done / (now - self.began)
        text = f"loss {smoothed_loss:.4f}, {rate:.2f} it/s"
        self.bar.update(self.task, completed=it, description=text)
        if done == MEASURED_STEPS:
            self.warm = (now, seconds_waited)
        elif done == 2 * MEASURED_STEPS:
            began, waited = self.warm
            self.say(self._cost((now - began) / MEASURED_STEPS, (seconds_waited - waited) / MEASURED_STEPS))
        if not self.console.is_terminal and now - self.said >= LINE_EVERY:
            self.said = now
            self.say(f"it {it}: {text}")

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
        if waited > 0.2 * seconds:
            cost += f"; {waited:.3f} s of it waiting for data: more training.num_workers may help"
        return cost


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
