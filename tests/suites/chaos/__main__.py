"""`python -m tests.suites.chaos`: break each part of a running service and check that nothing is lost."""

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console

from tests.suites.chaos.report import progress_line, table
from tests.suites.chaos.suite import ALL, Outcome, run_all

console = Console(soft_wrap=True)


def main(
    only: Annotated[list[str] | None, typer.Option(help="Names of scenarios; all of them otherwise.")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="A file for what was measured.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Say which scenarios there are, and end.")] = False,
    minutes: Annotated[float, typer.Option(help="No scenario is begun after these.")] = 28.0,
    directory: Annotated[Path | None, typer.Option(help="Where data and logs are to stay.")] = None,
) -> None:
    """Real servers and processes on loopback; takes up to half an hour on two cores."""
    if listed:
        for scenario in ALL:
            console.print(f"{scenario.name}: {scenario.part}, {scenario.fault}")
        return
    names = {scenario.name for scenario in ALL}
    unknown = [name for name in only or () if name not in names]
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: there are {', '.join(sorted(names))}", param_hint="--only"
        )
    chosen = [scenario for scenario in ALL if scenario.name in (only or names)]
    began, outcomes = time.monotonic(), list[Outcome]()
    machine = {"cores": psutil.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 2**30)}
    with tempfile.TemporaryDirectory(prefix="oflow-chaos-") as temporary:
        for outcome in run_all(directory or Path(temporary), chosen, 60 * minutes):
            outcomes.append(outcome)
            console.print(progress_line(outcome, len(outcomes), len(chosen)))
            if out is not None:  # each time: what was measured stays, should we be stopped
                report = {"machine": machine, "scenarios": [outcome.as_json() for outcome in outcomes]}
                out.write_text(json.dumps(report, indent=2) + "\n")
    console.print(table(outcomes, machine, time.monotonic() - began))
    if any(outcome.fault for outcome in outcomes):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
