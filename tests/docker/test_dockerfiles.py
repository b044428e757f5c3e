"""The Dockerfiles held against the packages, the lock files and the commands; images put together by hand."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import typer.main

from service.local.ports import free_ports
from tests.docker.compose import ROOT
from tests.docker.dockerfile import Dockerfile, files, is_sent
from worker.commands.cli import app as worker_command

IMAGES = {"gateway": Dockerfile("gateway.Dockerfile"), "worker": Dockerfile("worker.Dockerfile")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

# Runs first in a process: what the lock file does not name cannot be imported, as in the image.
ONLY_LOCKED = """
import importlib, importlib.metadata, json, os, pkgutil, re, sys
locked, packages = json.loads(sys.argv[1]), sys.argv[2:]

def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()

class OnlyLocked:
    owners = importlib.metadata.packages_distributions()
    def find_spec(self, name, path=None, target=None):
        owners = self.owners.get(name.partition(".")[0], [])
        if owners and not any(plain(owner) in locked for owner in owners):
            raise ModuleNotFoundError(f"No module named {name!r} in this image", name=name)

sys.meta_path.insert(0, OnlyLocked())
loaded = []
if packages[0] == "--run":
    sys.argv = packages[1:]
    from worker.__main__ import main
    main()
for package in packages:
    module = importlib.import_module(package)
    assert module.__file__.startswith(os.environ["PYTHONPATH"]), module.__file__
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        # What only training needs is in the extra `train`, and not in the images.
        others = ("worker.rendering.", "worker.tasks.tsne", "worker.tables")
        trains = found.name.startswith(("worker.training.", "worker.evaluation.", "worker.data.", *others))
        if not found.name.endswith("__main__") and (not trains or "command" in found.name):
            importlib.import_module(found.name)
            loaded.append(found.name)
from service.core.queue import celery_app
from service.core.settings import get_settings
celery_app(get_settings()).connection_for_write().transport  # imported by name, when a job is first sent
print(json.dumps({"loaded": loaded, "torch": "torch" in sys.modules, "fastapi": "fastapi" in sys.modules}))
"""


def locked(name: str) -> list[str]:
    return re.findall(r"^([a-z0-9-]+)==", (ROOT / "docker" / f"{name}.lock").read_text(), re.MULTILINE)


def environment(image: str, app: Path, **settings: str) -> dict[str, str]:
    """What a process of the image finds: the image's own settings and those given, and this Python."""
    declared = IMAGES[image].environment().items()
    own = {name: value.replace("/app", str(app)) for name, value in declared if name != "PATH"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return (
        own | {"PATH": path, "PYTHONPATH": str(app), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"} | settings
    )


@pytest.fixture
def app(image: str, tmp_path: Path) -> Path:
    """The working directory of an image, as its Dockerfile fills it."""
    IMAGES[image].assemble(tmp_path / "app")
    return tmp_path / "app"


@pytest.mark.parametrize("name", IMAGES)
def test_images_run_as_a_user_of_their_own(name: str) -> None:
    image = IMAGES[name]
    user = image.last("USER")
    assert int(user) > 1000
    assert any(f"--uid {user} " in text for text in image.all("RUN"))
    keywords = [entry.keyword for entry in image.instructions]
    assert "ADD" not in keywords
    copied = max(number for number, keyword in enumerate(keywords) if keyword == "COPY")
    assert keywords.index("USER") > copied, "the code is root's: the process cannot write to it"


@pytest.mark.parametrize("name", IMAGES)
def test_images_install_the_lock_before_the_code_and_by_hash(name: str) -> None:
    image = IMAGES[name]
    lock = "${EXTRA}.lock" if name == "worker" else f"{name}.lock"
    sources, target = image.copies()[0]
    assert (sources[0], target) == (f"docker/{lock}", "/tmp/")
    [install] = [text for text in image.all("RUN") if f"-r /tmp/{lock}" in text]
    assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(install.split())
    assert image.position("RUN", install) < min(image.position("COPY", f"{part}/") for part in parts(name))


def parts(name: str) -> set[str]:
    return {
        source.rstrip("/")
        for sources, _ in IMAGES[name].copies()
        for source in sources
        if source.endswith("/")
    }


def test_images_hold_their_packages_and_no_other() -> None:
    assert parts("gateway") == {"service"}
    assert parts("worker") == {"service/core" if name == "service" else name for name in PACKAGES}
    for name in IMAGES:
        for sources, target in IMAGES[name].copies():
            named = [
                source.replace("${EXTRA}", IMAGES[name].arguments().get("EXTRA", "")) for source in sources
            ]
            assert all(files(source) for source in named), f"{sources} leave nothing to copy"
            assert target in {"/tmp/", "./", "service/", *sources}


def test_torch_is_the_version_of_the_project() -> None:
    constraints = tomllib.loads((ROOT / "docker/lock.toml").read_text())["constraint-dependencies"]
    entries = re.split(r"\n(?=\S)", (ROOT / "docker/torch.lock").read_text().strip())
    named = {entry.split("==")[0]: entry for entry in entries}
    assert [named["torch"].split()[0]] == constraints
    assert all("--hash=sha256:" in entry for entry in entries)
    assert {re.match("nvidia|cuda|triton", name) is not None for name in named.keys() - {"torch"}} == {True}
    assert not named.keys() & ({*locked("worker"), *locked("train")})
    assert not {"torch", "torchdiffeq", "scipy"} & set(locked("gateway"))


def test_who_installs_by_uv_gets_all_that_torch_needs() -> None:
    """uv reads its settings from pyproject.toml whenever it runs in the project's folder."""
    assert "uv" not in PROJECT["tool"]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ("", "--no-deps --require-hashes -r torch.lock"),
        ("https://wheels.example.org/cpu", "--index-url https://wheels.example.org/cpu -r version"),
    ],
)
def test_torch_comes_by_hash_unless_an_index_is_given(index: str, expected: str, tmp_path: Path) -> None:
    [install] = [text for text in IMAGES["worker"].all("RUN") if "torch.lock" in text]
    script = re.sub(r"^--mount=\S+\s+", "", install).replace("/tmp/", "")
    (tmp_path / "torch.lock").write_text(
        "nvidia-nvtx==1 \\\n    --hash=x\ntorch==9.9 \\\n    --hash=sha256:0\n"
    )
    pip = tmp_path / "pip"
    pip.write_text('#!/bin/sh\necho "$@"\n')
    pip.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    told = subprocess.run(
        ["sh", "-ec", script],
        cwd=tmp_path,
        env={"PATH": path, "TORCH_INDEX": index},
        capture_output=True,
        text=True,
    )
    assert told.stdout == f"--python /opt/venv install --only-binary :all: {expected}\n", told.stderr
    assert not index or (tmp_path / "version").read_text() == "torch==9.9\n"


@pytest.mark.parametrize("cuda", [None, "13.0"])
def test_a_torch_with_cuda_in_the_image_for_cpus_is_told(cuda: str | None, tmp_path: Path) -> None:
    [check] = [text for text in IMAGES["worker"].all("RUN") if "Advice" in text]
    (tmp_path / "torch.py").write_text(f"class version:\n    cuda = {cuda!r}\n__version__ = '9.9'\n")
    told = subprocess.run(
        ["sh", "-ec", check.replace("python", sys.executable, 1)],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    assert ("Give TORCH_INDEX the index of the CPU builds" in told.stdout) == (cuda is not None)


def test_context_is_what_the_images_need() -> None:
    kept = [
        "service/api/app.py",
        "worker/commands/cli.py",
        "configs/default.yaml",
        "configs/checkpoints/bodies_128.pt",
        "worker/bodies/rig_8k.npz",
    ]
    assert all((ROOT / path).exists() and is_sent(path) for path in kept)
    left = [
        ".git/HEAD",
        ".venv/bin/python",
        ".env",
        ".env.example",
        "data/real/x.npz",
        "tests/docker/compose.py",
    ]
    left += [
        "README.md",
        "demo-out/mesh.glb",
        "service/local/stack.py",
        "worker/__pycache__/cli.cpython-311.pyc",
    ]
    assert not [path for path in left if is_sent(path)]
    size = sum((ROOT / path).stat().st_size for part in PACKAGES for path in files(part))
    assert size < 60 * 2**20


@pytest.mark.parametrize(("image", "packages"), [("gateway", ["service"]), ("worker", ["model", "worker"])])
def test_every_module_imports_with_what_the_lock_names(image: str, packages: list[str], app: Path) -> None:
    names = [*locked(image), "torch"] if image == "worker" else locked(image)
    answer = subprocess.run(
        [sys.executable, "-c", ONLY_LOCKED, json.dumps(names), *packages],
        env=environment(image, app, OFLOW_HOST="127.0.0.1", OFLOW_REDIS_URL="redis://127.0.0.1:1/0"),
        cwd=app,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert not [name for name in found["loaded"] if name.startswith("service.local")]
    assert {"gateway": "service.api.app", "worker": "worker.serving.runner"}[image] in found["loaded"]
    assert found["torch"] is (image == "worker")
    assert found["fastapi"] is (image == "gateway")


@pytest.mark.parametrize("image", ["gateway"])
def test_gateway_image_answers_its_health_check(image: str, app: Path) -> None:
    gateway = IMAGES["gateway"]
    [port] = free_ports(1)
    settings = environment(
        image,
        app,
        OFLOW_HOST="127.0.0.1",
        OFLOW_PORT=str(port),
        OFLOW_REDIS_URL="redis://127.0.0.1:1/0",
        OFLOW_S3_ENDPOINT_URL="http://127.0.0.1:1",
        OFLOW_S3_ACCESS_KEY_ID="nobody",
        OFLOW_S3_SECRET_ACCESS_KEY="nothing",
    )

    def is_healthy() -> bool:
        return (
            subprocess.run(gateway.command("HEALTHCHECK"), env=settings, stderr=subprocess.DEVNULL).returncode
            == 0
        )

    assert gateway.command("CMD") == ["python", "-m", "service"]
    assert not is_healthy()
    process = subprocess.Popen(gateway.command("CMD"), env=settings, cwd=app)
    try:
        began = time.monotonic()
        while not is_healthy():
            assert process.poll() is None
            assert time.monotonic() - began < 60
    finally:
        process.terminate()
        process.wait(20)
    assert not is_healthy()


@pytest.mark.parametrize("image", ["worker"])
def test_worker_is_a_command(image: str, app: Path, tmp_path: Path) -> None:
    worker = IMAGES["worker"]
    command, argument = worker.command("CMD")
    assert argument in typer.main.get_group(worker_command).commands
    [script] = [text for text in worker.all("RUN") if text.startswith("printf")]
    launcher = tmp_path / command
    subprocess.run(["sh", "-c", script.replace(f"/usr/local/bin/{command}", str(launcher))], check=True)
    settings = environment(image, app)
    answer = subprocess.run([launcher, argument], env=settings, cwd=app, capture_output=True, text=True)
    assert answer.returncode == 1, "no settings are given"
    assert "OFLOW_REDIS_URL: found nothing, wanted a value" in answer.stderr
    assert worker.last("STOPSIGNAL") == "SIGTERM"
    assert worker.command("HEALTHCHECK") == ["python", "-m", "worker.serving.health"]


@pytest.mark.parametrize("image", ["worker"])
def test_training_in_an_image_without_its_packages_is_refused_in_one_line(image: str, app: Path) -> None:
    """`EXTRA=train` puts them in."""
    command = ["--run", "worker", "train", "training/smoke", "--out", str(app.parent / "out")]
    answer = subprocess.run(
        [sys.executable, "-c", ONLY_LOCKED, json.dumps([*locked("worker"), "torch"]), *command],
        env=environment(image, app),
        cwd=app,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.splitlines()[-1].endswith("pip install 'oflow[train]'")
    assert "Traceback" not in answer.stderr
    assert {"matplotlib", "pandas", "tensorboard"} <= set(locked("train")) - set(locked("worker"))
