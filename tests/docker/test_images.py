"""The images, built and run. Minutes of downloads and gigabytes of disk: run with `-m slow`.

Takes `docker` where a daemon answers, else `buildah`. OFLOW_TEST_BASE names a base image in place of the
Dockerfiles' own, OFLOW_TEST_MOUNTS folders to mount while building (`/a:/a:ro /b:/b:ro`), TORCH_INDEX the
wheel index of torch.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docker.compose import ROOT
from tests.docker.dockerfile import Dockerfile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SAMPLES = ROOT / "service/page/samples"
NOWHERE = {
    "OFLOW_TRUSTED_NETWORK": "true",
    "OFLOW_REDIS_URL": "redis://127.0.0.1:1/0",
    "OFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "OFLOW_S3_ACCESS_KEY_ID": "nobody",
    "OFLOW_S3_SECRET_ACCESS_KEY": "nothing",
}


def run(*command: str) -> str:
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, f"{shlex.join(command)}\n{answer.stdout[-2000:]}\n{answer.stderr[-4000:]}"
    return answer.stdout


class Docker:
    build_command = ("docker", "build")

    def run(self, tag: str, command: list[str], environment: dict[str, str], *volumes: str) -> str:
        options = [f"--env={name}={value}" for name, value in environment.items()]
        options += [f"--volume={volume}" for volume in volumes]
        return run("docker", "run", "--rm", "--read-only", "--tmpfs=/tmp", *options, tag, *command)


class Buildah:
    command = ("buildah", "--storage-driver", "vfs")
    build_command = (*command, "build", "--isolation", "chroot", "--network", "host")

    def run(self, tag: str, command: list[str], environment: dict[str, str], *volumes: str) -> str:
        options = [f"--env={name}={value}" for name, value in environment.items()]
        options += [f"--volume={volume}" for volume in volumes]
        container = run(*self.command, "from", tag).strip()
        try:
            return run(*self.command, "run", "--isolation", "chroot", *options, container, "--", *command)
        finally:
            run(*self.command, "rm", container)


def builder() -> Docker | Buildah:
    if (
        shutil.which("docker")
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    ):
        return Docker()
    if shutil.which("buildah"):
        return Buildah()
    pytest.skip("neither a Docker daemon nor buildah")


def build(name: str, target: str | None = None, **arguments: str) -> str:
    """Build docker/NAME.Dockerfile; its tag."""
    if base := os.environ.get("OFLOW_TEST_BASE"):
        arguments["BASE"] = base
    options = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    options += [f"--volume={volume}" for volume in os.environ.get("OFLOW_TEST_MOUNTS", "").split()]
    options += [f"--target={target}"] if target else []
    tag = f"localhost/oflow-test-{arguments.get('EXTRA', name)}"
    run(*builder().build_command, *options, "--file", f"docker/{name}.Dockerfile", "--tag", tag, ".")
    return tag


def test_gateway_answers() -> None:
    image = Dockerfile("gateway.Dockerfile")
    serve, healthy = shlex.join(image.command("CMD")), shlex.join(image.command("HEALTHCHECK"))
    script = f"{serve} & for i in $(seq 60); do {healthy} && echo healthy && break; sleep 1; done; kill $!"
    assert "healthy" in builder().run(build("gateway"), ["sh", "-c", script], NOWHERE)


def test_worker_reconstructs(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    tag = build("worker", "cpu", TORCH_INDEX=os.environ.get("TORCH_INDEX", ""))
    command = ["worker", "reconstruct", "/samples/knees.npz", "/out/knees.glb", "--resolution", "32"]
    builder().run(tag, command, {}, f"{SAMPLES}:/samples:ro", f"{tmp_path}:/out")
    assert (tmp_path / "knees.glb").read_bytes()[:4] == b"glTF"


def test_training_takes_ten_steps(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    tag = build("worker", "cpu", EXTRA="train", TORCH_INDEX=os.environ.get("TORCH_INDEX", ""))
    command = ["worker", "train", "training/smoke", "--out", "/out", "training.max_iterations=10"]
    command += ["training.num_workers=0"]
    builder().run(tag, command, {}, f"{tmp_path}:/out")
    assert (tmp_path / "model.pt").is_file()
