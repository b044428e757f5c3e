"""Each extra works alone in a fresh environment. Minutes of downloads: run with `-m slow`."""

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
TORCH = "torch==2.13.0"
EXTRAS: dict[str, list[list[str]]] = {
    "gateway": [["bin/python", "-c", GATEWAY]],
    "worker": [RECONSTRUCT],
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
    run(["bin/pip", "install", "--quiet", f"{ROOT}[{extra}]"])
    for command in EXTRAS[extra]:
        run(command)
