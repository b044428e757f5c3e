"""The commands `up` and `demo`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from service.client import JobFailedError
from service.client.retrying import ServiceError
from service.core.extras import needs
from service.local.directories import data_directory
from service.local.errors import LocalStackError
from service.local.log import MergedLog
from service.local.signals import exit_on_signals

errors = Console(stderr=True, highlight=False, markup=False)


@needs("local,worker")
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the gateway, on loopback.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Each holds one model and runs one job at a time.")] = 1,
    data: Annotated[
        Path | None, typer.Option(help="Directory for jobs and files; temporary by default.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A model by the name or path of its config; the default one otherwise.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="File or URL of weights, instead of those that the config names.")
    ] = None,
) -> None:
    """Run the whole service on this machine, without Docker, until Ctrl-C or SIGTERM.

    With OFLOW_AUTH=keys callers need a key; the first one is made and printed.
    """
    from service.local.first_key import first_key
    from service.local.stack import LocalStack, model_settings

    exit_on_signals()
    auth = os.environ.get("OFLOW_AUTH", "open")
    log = MergedLog(sys.stdout)
    try:
        with (
            data_directory(data) as directory,
            LocalStack(
                directory,
                log,
                port=port,
                workers=workers,
                overrides=model_settings(model, checkpoint) | {"OFLOW_AUTH": auth},
            ) as stack,
        ):
            log.write("stack", f"ready in {stack.timings['worker']:.1f} s at {stack.address}")
            log.write("stack", f"page: {stack.address}/, API: {stack.address}/docs, stop with Ctrl-C")
            if auth == "keys" and (key := first_key(stack.environment["OFLOW_REDIS_URL"])):
                log.write("stack", f"first key, not shown again: {key}")
            stack.wait()
    except (KeyboardInterrupt, SystemExit):
        log.write("stack", "stopped")
    except LocalStackError as error:
        errors.print(str(error), style="red")
        raise typer.Exit(1) from None


@needs("local,worker,train")
def demo(
    sample: Annotated[
        str | None, typer.Option(help="A shipped sequence; by default a person and an animal.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Directory for the results.")] = Path("demo-out"),
) -> None:
    """Start the service, reconstruct samples through its HTTP API, write the results, stop the service."""
    from service.local.demo import run_demo

    exit_on_signals()
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
            errors.print(f"Full log: {log_file}")
            raise typer.Exit(1) from None
