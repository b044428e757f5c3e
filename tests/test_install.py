"""Each extra works alone in a fresh environment. Minutes of downloads: run with `-m slow`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETTINGS = "Settings(redis_url='redis://127.0.0.1:1/0')"
GATEWAY = f"""
from service.api.app import create_app
from service.core.settings import Settings
create_app({SETTINGS}).openapi()
"""
SERVERS = """
import sys
from pathlib import Path
from service.local.log import MergedLog
from service.local.object_store import ObjectStore
from service.local.redis_server import RedisServer
for kind in (RedisServer, ObjectStore):
    server = kind(Path(kind.__name__).resolve(), MergedLog(sys.stderr))
    server.start()
    try:
        server.wait_until_ready(60)
    finally:
        server.stop()
"""
RECONSTRUCT = [
    "bin/worker",
    "reconstruct",
    str(ROOT / "service/page/samples/knees.npz"),
    "out.glb",
    "--resolution",
    "32",
]
TORCH = re.findall("^torch==[^ ]+", (ROOT / "docker/torch.lock").read_text(), re.MULTILINE)[0]
# Commands of other extras then name what to install.
CLIENT = """
import importlib.util, subprocess
assert not importlib.util.find_spec("numpy")
from service.client import Client
told = {"oflow keys list": "gateway", "oflow up": "local,worker", "worker models": "worker"}
for command, extra in told.items():
    done = subprocess.run(["bin/" + command.split()[0], *command.split()[1:]], capture_output=True, text=True)
    assert done.returncode == 2, done
    assert done.stderr.endswith(f"pip install 'oflow[{extra}]'\\n"), done
    assert len(done.stderr.splitlines()) == 1, done
"""
BARE = """
import subprocess
for command, extra in (("oflow", "client"), ("worker", "worker")):
    done = subprocess.run(["bin/" + command], capture_output=True, text=True)
    assert done.returncode == 2, done
    assert done.stderr == f"This command needs typer: pip install 'oflow[{extra}]'\\n", done
"""
EXTRAS: dict[str, list[list[str]]] = {
    "": [["bin/python", "-c", BARE]],
    "client": [
        ["bin/oflow", "--version"],
        ["bin/oflow", "reconstruct", "--help"],
        ["bin/python", "-c", CLIENT],
    ],
    "gateway": [["bin/python", "-c", GATEWAY], ["bin/oflow", "--version"]],
    "worker": [RECONSTRUCT, ["bin/worker", "--version"]],
    "train": [RECONSTRUCT],
    "local": [["bin/python", "-c", SERVERS], ["bin/python", "-c", GATEWAY]],
    "dev": [
        ["bin/ruff", "--version"],
        ["bin/pytest", "--version"],
        ["bin/python", "-c", GATEWAY],
        RECONSTRUCT,
    ],
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_works_alone(extra: str, tmp_path: Path) -> None:
    def run(command: list[str]) -> None:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    run([sys.executable, "-m", "venv", str(tmp_path)])
    if extra in ("worker", "train", "dev"):
        run(["bin/pip", "install", "--quiet", TORCH])  # the build that the machine is meant to have
    run(["bin/pip", "install", "--quiet", f"{ROOT}[{extra}]" if extra else str(ROOT)])
    for command in EXTRAS[extra]:
        run(command)
