"""One `worker train` from the words of the command line to the exit code."""

from typing import Any

from rich.console import Console

from model.config.schema import load_config
from model.errors import ModelError
from worker.device import pick_device
from worker.processes import join_processes, leave_processes
from worker.training.stopping import EXIT_DIVERGED, EXIT_DONE, EXIT_REFUSED, EXIT_STOPPED, DivergedError, Stop
from worker.training.trainer import Trainer


def run(name: str, overrides: dict[str, Any], device: str, exit_after: float | None) -> int:
    """Train, and return the exit code."""
    console = Console(stderr=True, soft_wrap=True)
    stop = Stop(exit_after)
    stop.listen()
    processes = None
    try:
        config = load_config(name, overrides)
        processes, device = join_processes(pick_device(device))
        finished = Trainer(config, device, processes).run(stop)
    except DivergedError as error:
        console.print(f"[red]stopped[/]: {error}", highlight=False)
        return EXIT_DIVERGED
    except ModelError as error:
        console.print(f"[red]{name}[/]: {error}", highlight=False)
        return EXIT_REFUSED
    finally:
        if processes is not None:
            leave_processes(processes)
    return EXIT_DONE if finished else EXIT_STOPPED
