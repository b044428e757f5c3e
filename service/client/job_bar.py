"""A progress bar for a job in the terminal."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from service.core.jobs.record import JobEvent
from service.core.jobs.views import JobView


class JobBar(Progress):
    """A bar that disappears when it is left; for the time before and after a job it has phases."""

    def __init__(self, console: Console, phase: str) -> None:
        columns = (
            TextColumn("{task.description:>20}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        super().__init__(*columns, console=console, transient=True)
        self._task = self.add_task(phase, total=None, left="")

    def phase(self, description: str) -> None:
        self.update(self._task, description=description, left="")

    def show(self, job: JobView | JobEvent) -> None:
        progress, eta = job.progress, job.progress.eta_seconds
        left = "" if eta is None else f"{eta:.0f} s left"
        self.update(self._task, description=progress.stage, total=100, completed=progress.percent, left=left)
