"""Commands without the packages of their extra say in one line what to install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.core.version import VERSION


def run(folder: Path, missing: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a module with these packages hidden."""
    hide = f"import sys; sys.modules.update(dict.fromkeys({missing!r}.split()))"
    (folder / "sitecustomize.py").write_text(hide)
    paths = os.pathsep.join([str(folder), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths, "COLUMNS": "200"}
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("missing", "command", "told"),
    [
        ("typer", "service.cli list", "This command needs typer: pip install 'oflow[client]'"),
        ("typer", "worker models", "This command needs typer: pip install 'oflow[worker]'"),
        ("boto3 redis", "service.cli up", "This command needs redis: pip install 'oflow[local,worker]'"),
        ("pydantic_settings redis", "service.cli keys list", "pip install 'oflow[gateway]'"),
        ("torch", "worker models", "This command needs torch: pip install 'oflow[worker]'"),
        ("yaml", "worker models", "This command needs yaml: pip install 'oflow[worker]'"),
        ("pandas", "worker score bodies", "This command needs pandas: pip install 'oflow[train]'"),
    ],
)
def test_the_extra_is_named(missing: str, command: str, told: str, tmp_path: Path) -> None:
    done = run(tmp_path, missing, *command.split())
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().endswith(told)
    assert len(done.stderr.splitlines()) == 1


def test_the_client_needs_no_numpy_and_no_server(tmp_path: Path) -> None:
    hidden = "numpy torch scipy fastapi redis boto3 celery uvicorn"
    done = run(tmp_path, hidden, "service.cli", "reconstruct", "--help")
    assert done.returncode == 0, done.stderr
    assert "--quality" in done.stdout


@pytest.mark.parametrize("command", ["service.cli", "worker"])
def test_the_version(command: str, tmp_path: Path) -> None:
    done = run(tmp_path, "torch", command, "--version")
    assert (done.returncode, done.stdout.strip()) == (0, VERSION)
