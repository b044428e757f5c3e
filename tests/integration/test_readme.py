"""The commands of the README and the examples of docs/clients.md work as pasted."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.service_processes import Gateway, Worker

ROOT = Path(__file__).parent.parent.parent
CURL_BLOCKS = [
    block
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    if "curl" in block
]
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/clients.md").read_text(), re.S)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with the samples where the README's commands expect them."""
    (tmp_path / "service").symlink_to(ROOT / "service")
    return tmp_path


def paste(block: str, gateway: Gateway, folder: Path) -> str:
    address = str(gateway.client.base_url).rstrip("/")
    assert "http://127.0.0.1:8000" in block
    script = "set -eu\n" + block.replace("http://127.0.0.1:8000", address)
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_upload_follow_download(gateway: Gateway, worker: Worker, folder: Path) -> None:
    output = paste(CURL_BLOCKS[0], gateway, folder)
    assert '"state":"succeeded"' in output
    assert (folder / "knees.glb").read_bytes()[:4] == b"glTF"
    assert (folder / "knees.zip").read_bytes()[:2] == b"PK"


def test_raw_file(gateway: Gateway, worker: Worker, folder: Path) -> None:
    job = json.loads(paste(CURL_BLOCKS[1], gateway, folder))
    options = {"formats": ["glb"], "resolution": 64, "frames": 33}
    assert job["options"].items() >= options.items()
    assert gateway.follow(job["id"])["result"]["mesh"]["frames"] == 33


@pytest.mark.parametrize("example", PYTHON_BLOCKS, ids=["Client", "AsyncClient"])
def test_examples_of_the_python_client(example: str, gateway: Gateway, worker: Worker, folder: Path) -> None:
    address = str(gateway.client.base_url).rstrip("/")
    assert "http://127.0.0.1:8000" in example
    script = [sys.executable, "-c", example.replace("http://127.0.0.1:8000", address)]
    done = subprocess.run(script, cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    [downloaded] = folder.glob("*.glb")
    assert downloaded.read_bytes()[:4] == b"glTF"
