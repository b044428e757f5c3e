"""`python -m service.local demo` from end to end: its files, and that no process is left running."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from model.errors import InputError
from service.page.samples import SAMPLES
from worker.rendering.obj_archive import read_obj_archive

NAME = next(iter(SAMPLES))
DEMO = [sys.executable, "-m", "service.local", "demo"]


def start(out: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DEMO, "--out", str(out), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TMPDIR": str(out)} | environment,
    )


def wait_for_family(demo: subprocess.Popen[str], text: str) -> list[psutil.Process]:
    """All processes of the demo, once one of them has this text in its command line."""
    end = time.monotonic() + 60
    while time.monotonic() < end and demo.poll() is None:
        family = psutil.Process(demo.pid).children(recursive=True)
        if any(text in " ".join(process.cmdline()) for process in family if process.is_running()):
            return family
        time.sleep(0.1)
    raise AssertionError(f"no {text!r} was started: {demo.communicate()[0]}")


def test_demo_writes_consistent_files_and_stops_all_processes(tmp_path: Path) -> None:
    demo = start(tmp_path)
    family = wait_for_family(demo, "-m service")
    output, _ = demo.communicate(timeout=240)
    assert demo.returncode == 0, output
    assert psutil.wait_procs(family, timeout=2)[1] == []

    frames = read_obj_archive(tmp_path / f"{NAME}.obj.zip")
    count, vertices, _ = frames.vertices.shape  # [T, V, 3]
    document = glb_document((tmp_path / f"{NAME}.glb").read_bytes())
    [primitive] = document["meshes"][0]["primitives"]
    assert document["accessors"][primitive["attributes"]["POSITION"]]["count"] == vertices
    assert len(primitive["targets"]) == count - 1
    assert len(document["animations"]) == 1

    with Image.open(tmp_path / f"{NAME}.png") as picture:
        colours = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
    assert len(colours) > 1000  # shaded and colored, not blank
    for expected in (
        f"{NAME}.glb",
        f"{NAME}.obj.zip",
        f"{NAME}.png",
        f"{vertices} vertices",
        "http://127.0.0.1:",
    ):
        assert expected in output


def glb_document(content: bytes) -> dict[str, Any]:
    """The JSON chunk of a binary glTF."""
    magic, _, length, json_length, kind = struct.unpack_from("<4sIII4s", content)
    assert (magic, length, kind) == (b"glTF", len(content), b"JSON")
    document: dict[str, Any] = json.loads(content[20 : 20 + json_length])
    return document


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_an_interrupted_demo_leaves_nothing_running(tmp_path: Path, name: str) -> None:
    demo = start(tmp_path)
    family = wait_for_family(demo, "-m service")  # started last
    number = getattr(signal, name)
    demo.send_signal(number)
    output, _ = demo.communicate(timeout=30)
    assert demo.returncode == (-number if name == "SIGKILL" else 128 + number), output
    assert "Traceback" not in output
    assert psutil.wait_procs(family, timeout=5)[1] == []
    if name == "SIGINT":
        assert list(tmp_path.glob("oflow-*")) == []  # the servers' data was deleted


def test_failing_demo_reports_the_error_and_the_log_file(tmp_path: Path) -> None:
    demo = start(tmp_path, OFLOW_DEVICE="cuda:99")
    family = wait_for_family(demo, "worker serve")
    output, _ = demo.communicate(timeout=240)
    assert demo.returncode == 1
    assert "cuda:99" in output
    assert str(tmp_path / "demo.log") in output.replace("\n", "")
    assert "cuda:99" in (tmp_path / "demo.log").read_text()
    assert "Traceback" not in output
    assert psutil.wait_procs(family, timeout=5)[1] == []


def test_unknown_sample_error_lists_known_samples(tmp_path: Path) -> None:
    demo = start(tmp_path, "--sample", "walrus")
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "Unknown sample 'walrus'" in output
    assert all(name in output for name in SAMPLES)


def test_an_obj_archive_that_contradicts_its_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mesh.obj.zip"
    manifest = {"frames": 2, "vertices": 3, "faces": 1, "times": [0.0, 0.5], "fps": 2.0}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("00000.obj", "v 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 0 1.5 0 0 0 1\nf 1 2 3\n")
    with pytest.raises(InputError, match="'frames': 1"):
        read_obj_archive(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("00001.obj", "v 0 0 1 1 0 0\nv 1 0 1 1 0 0\nv 0 1.5 1 0 0 1\nf 1 2 3\n")
    read = read_obj_archive(path)
    assert read.vertices.tolist() == [
        [[0, 0, 0], [1, 0, 0], [0, 1.5, 0]],
        [[0, 0, 1], [1, 0, 1], [0, 1.5, 1]],
    ]
    assert read.faces.tolist() == [[0, 1, 2]]
    assert read.colors is not None
    assert read.colors.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
