"""`make pin-images` with a docker that knows digests: what it pins, renews and leaves alone."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.compose import ROOT

# Answers as `docker buildx imagetools inspect TAG --format {{.Manifest.Digest}}` does.
DOCKER = """#!/bin/sh
[ "$1 $2 $3 $5 $6" = "buildx imagetools inspect --format {{.Manifest.Digest}}" ] || exit 9
[ -e {refuses} ] && echo "$4: no such host" >&2 && exit 1
printf 'sha256:'; printf '%s' "$4 $(cat {day})" | sha256sum | cut -c 1-64
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("docker", "deploy", ".devcontainer"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    names = {"{refuses}": str(tmp_path / "refuses"), "{day}": str(tmp_path / "day")}
    docker.write_text(re.sub(r"\{refuses\}|\{day\}", lambda match: names[match[0]], DOCKER))
    docker.chmod(0o755)
    (tmp_path / "day").write_text("monday")
    return tmp_path


def pin(copy: Path) -> subprocess.CompletedProcess[str]:
    path = f"{copy / 'bin'}:{os.environ['PATH']}"
    command = [sys.executable, str(ROOT / "docker/pin_images.py"), str(copy)]
    return subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True)


def references(folder: Path) -> list[str]:
    """All images that the files name, but those that are built here."""
    named = []
    for pattern in ("docker/*Dockerfile", ".devcontainer/*", "docker-compose.yml", "deploy/**/*.yaml"):
        for path in folder.glob(pattern):
            named += re.findall(r"^(?:ARG BASE=|FROM |\s*image: )(\S+)", path.read_text(), re.MULTILINE)
    return [name for name in named if not re.match(r"oflow-|\$\{BASE\}|worker$", name)]


def test_every_image_from_elsewhere_is_pinned_and_renewed(copy: Path) -> None:
    before = references(copy)
    assert len(before) >= 7
    done = pin(copy)
    assert done.returncode == 0, done.stderr
    monday = references(copy)
    assert [name.partition("@")[0] for name in monday] == [name.partition("@")[0] for name in before]
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", name) for name in monday), monday
    assert "docker-compose.yml: valkey/valkey:8.1.8, chrislusf/seaweedfs:4.48" in done.stdout
    assert pin(copy).stdout == "", "nothing is new"
    (copy / "day").write_text("tuesday")
    pin(copy)
    assert not set(references(copy)) & set(monday)


def test_nothing_is_changed_without_an_answer(copy: Path) -> None:
    before = references(copy)
    (copy / "refuses").touch()
    done = pin(copy)
    assert done.returncode == 1
    assert re.fullmatch(
        r"The digest of \S+ was not found, nothing is changed: \S+: no such host\n", done.stderr
    )
    assert references(copy) == before
