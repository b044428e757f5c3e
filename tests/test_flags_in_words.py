"""Wrong values of flags, in the words of every program."""

import pytest
import typer
from typer.testing import CliRunner

import service.cli.app
import service.local.__main__
import worker.commands.cli

OFLOW, LOCAL, WORKER = service.cli.app.app, service.local.__main__.app, worker.commands.cli.app


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        (
            OFLOW,
            "reconstruct in --up q",
            "'--up': 'q' is not one of 'auto', 'x', 'y', 'z', '-x', '-y', '-z'.",
        ),
        (OFLOW, "list --limit many", "'--limit': found 'many', wanted a whole number"),
        (OFLOW, "keys create me --rate-limit 0", "'--rate-limit': found '0', wanted at least 1"),
        (LOCAL, "up --port 70000", "'--port': found '70000', wanted at most 65535"),
        (WORKER, "reconstruct in out --smooth x", "'--smooth': found 'x', wanted a whole number"),
        (WORKER, "data bodies out --turn 200", "'--turn': found '200', wanted at most 180"),
        (WORKER, "train training/smoke training=3", "training: found 3, wanted a section of keys"),
    ],
)
def test_wrong_values_are_told_as_the_api_does(program: typer.Typer, arguments: str, words: str) -> None:
    """Typer checks values with pydantic, whose words are for programmers."""
    done = CliRunner().invoke(program, arguments.split(), env={"COLUMNS": "200"}, catch_exceptions=False)
    assert done.exit_code == 2
    assert words in done.output
