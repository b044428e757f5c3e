"""`python -m service.local`: the commands `up` and `demo`."""

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from service.client import JobFailedError
from service.client.retrying import ServiceError
from service.local.directories import data_directory
from service.local.errors import LocalStackError
from service.local.log import MergedLog
from service.local.stack import LocalStack

app = typer.Typer(
    help="The whole service on this machine, without Docker.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
errors = Console(stderr=True, highlight=False, markup=False)


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The gateway's port, on loopback.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Each runs one job at a time and holds one model.")] = 1,
    data: Annotated[
        Path | None, typer.Option(help="A directory to keep jobs and files in; else they go when it stops.")
    ] = None,
) -> None:
    """Keep the stack running in the foreground, with one merged log; Ctrl-C stops all of it."""
    log = MergedLog(sys.stdout)
    try:
        with (
            data_directory(data) as directory,
            LocalStack(directory, log, port=port, workers=workers) as stack,
        ):
            log.write("stack", f"ready in {stack.timings['worker']:.1f} s at {stack.address}")
            log.write(
                "stack",
                f"open {stack.address}/ in a browser ({stack.address}/docs: the API), stop it with Ctrl-C",
            )
            stack.wait()
    except KeyboardInterrupt:
        log.write("stack", "stopped")
    except LocalStackError as error:
        errors.print(str(error), style="red")
        raise typer.Exit(1) from None


@app.command()
def demo(
    sample: Annotated[str | None, typer.Option(help="A shipped sequence; the first one by default.")] = None,
    out: Annotated[Path, typer.Option(help="Where the results go.")] = Path("demo-out"),
) -> None:
    """Start the stack, send a sample through it as any client would, show the result, stop the stack."""
    from service.local.demo import run_demo  # draws: `up` needs none of that

    out.mkdir(parents=True, exist_ok=True)
    log_file = out / "demo.log"
    with log_file.open("w") as stream:
        log = MergedLog(stream)
        try:
            run_demo(sample, out, log)
        except (LocalStackError, ServiceError, JobFailedError) as error:
            errors.print(str(error), style="red")
            for line in [] if getattr(error, "lines", None) else log.tail():
                errors.print(line)
            errors.print(f"The whole log is in {log_file}")
            raise typer.Exit(1) from None


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):  # end as on Ctrl-C: every part is stopped in its turn
        signal.signal(number, _leave)
    app()
