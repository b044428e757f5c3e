"""The one rule about imports."""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINT_IMPORTS = Path(sysconfig.get_path("scripts")) / "lint-imports"
HEAVY = ("torch", "scipy", "trimesh", "mcubes", "model", "worker")


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after the statement."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_the_contracts_of_the_rooms_hold() -> None:
    # In a process of its own: in ours it would switch the logs of other tests off.
    done = subprocess.run([LINT_IMPORTS, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_gateway_loads_nothing_heavy() -> None:
    assert not loaded_by("import service.api.app").intersection(HEAVY)


def test_the_model_needs_no_server() -> None:
    assert not loaded_by("import model").intersection(
        {"service", "worker", "celery", "redis", "fastapi", "boto3"}
    )


def test_the_parent_of_a_worker_keeps_torch_out() -> None:
    """A child forked or spawned from a process that ran torch may hang; only the child loads it."""
    settings = "import os; os.environ['OFLOW_REDIS_URL'] = 'redis://127.0.0.1:1/0'"
    code = f"{settings}\nimport worker.commands.cli, worker.serving.app, worker.serving.watchdog"
    loaded = loaded_by(code)
    assert "torch" not in loaded
    assert "fastapi" not in loaded
