"""`python -m service.local demo` from end to end: its files, and that no process is left running."""

import json
import os
import re
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
from service.core.jobs.results import Fit, Mesh
from service.core.jobs.views import ResultView
from service.local.demo import SHOWN, _report
from service.page.samples import SAMPLES
from tests.integration.service_processes import command_of
from worker.rendering.obj_archive import read_obj_archive

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
        if any(text in command_of(process) for process in family):
            return family
        time.sleep(0.1)
    raise AssertionError(f"no {text!r} was started: {demo.communicate()[0]}")


def test_demo_writes_consistent_files_and_stops_all_processes(tmp_path: Path) -> None:
    demo = start(tmp_path)
    family = wait_for_family(demo, "-m service")
    output, _ = demo.communicate(timeout=400)
    assert demo.returncode == 0, output
    assert psutil.wait_procs(family, timeout=2)[1] == []

    assert "http://127.0.0.1:" in output
    for name in SHOWN:
        assert_consistent(tmp_path, name, output)


def assert_consistent(folder: Path, name: str, output: str) -> None:
    frames = read_obj_archive(folder / f"{name}.obj.zip")
    count, vertices, _ = frames.vertices.shape  # [T, V, 3]
    document = glb_document((folder / f"{name}.glb").read_bytes())
    [primitive] = document["meshes"][0]["primitives"]
    assert document["accessors"][primitive["attributes"]["POSITION"]]["count"] == vertices
    assert len(primitive["targets"]) == count - 1
    assert len(document["animations"]) == 1

    with Image.open(folder / f"{name}.png") as picture:
        colours = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
    assert len(colours) > 1000  # shaded and colored, not blank
    for expected in (f"{name}.glb", f"{name}.obj.zip", f"{name}.png"):
        assert expected in output
    report = output[output.index(f"sample {name!r}") :]
    assert f"{vertices} vertices" in report
    assert re.search(r"^ +verdict  (good|doubtful)$", report, re.M), output


def test_report_gives_the_reasons_of_a_verdict() -> None:
    result = ResultView(
        files=[],
        mesh=Mesh(vertices=8, faces=12, frames=2, watertight=True),
        fit=Fit(mean=[0.1, 0.3], p95=[0.5, 0.7]),
        timings={"fit": 1.0},
        verdict="poor",
        reasons=["half of the points are far from the surface"],
        warnings=["one side is seen"],
    )
    rows = _report("walker", result, [Path("walker.glb")])
    for expected in (
        ("fit", "mean distance from input points to mesh 0.2000, 95th percentile of the worst frame 0.7000"),
        ("verdict", "poor"),
        ("reason", "half of the points are far from the surface"),
        ("warning", "one side is seen"),
    ):
        assert expected in rows


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
