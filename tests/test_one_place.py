"""The files that an addition touches, as CONTRIBUTING.md counts them.

A toy option and a toy format are added to a copy of the code and must reach every way in.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OPTION = """    glitter: Annotated[Literal["none", "gold"], Field(description="How it shines.")] = "none"
"""
FORMAT = """    TOY = "toy", ".toy", "model/toy", "model.meshes.toy:write_toy", 9
"""
WRITER = """def write_toy(meshes: object) -> bytes:
    return b"toy"
"""
OPTION_PROBE = """
from pathlib import Path
import pytest, typer
from typer.testing import CliRunner
from service.api.app import create_app
from service.api.routes.page import options as controls
from service.cli.app import app as oflow
from service.core.jobs.option_faults import OptionsError
from service.core.jobs.options import parse_options
from service.core.settings import Settings
from worker.commands.cli import app as worker

fields = [("glitter", "gold")]
assert parse_options(fields).glitter == "gold"  # form fields and the query
with pytest.raises(OptionsError, match="'none' or 'gold'"):
    parse_options([("glitter", "lead")])
for command in (oflow, worker):
    told = CliRunner().invoke(command, ["reconstruct", "--help"], env={"COLUMNS": "200"}).output
    assert "--glitter" in told and "none|gold" in told and "How it shines." in told, told
assert controls()["properties"]["glitter"]["enum"] == ["none", "gold"]
document = create_app(Settings(redis_url="redis://127.0.0.1:1/0")).openapi()
bodies = document["paths"]["/reconstruct"]["post"]["requestBody"]["content"]
for kind in ("multipart/form-data", "application/json"):
    assert bodies[kind]["schema"]["properties"]["glitter"]["enum"] == ["none", "gold"]
from worker import pipeline
assert "glitter" in pipeline.ARGUMENTS  # of the Reconstructor, the code that uses it
"""
FORMAT_PROBE = """
from pathlib import Path
import pytest
from typer.testing import CliRunner
from service.api.app import create_app
from service.api.routes.page import options as controls
from service.cli.app import app as oflow
from service.core.jobs.formats import Format
from service.core.jobs.option_faults import OptionsError
from service.core.jobs.options import parse_options
from service.core.jobs.targets import plan_targets
from service.core.settings import Settings
from worker.commands.cli import app as worker
from worker.pipeline import write_meshes

options = parse_options([("formats", "glb,toy"), ("frames", "10")])
assert options.formats == (Format.GLB, Format.TOY)
with pytest.raises(OptionsError, match="toy holds at most 9"):
    options.check_length(1.0, 17)
assert write_meshes(None, Format.TOY) == b"toy"
assert list(plan_targets(Path("a.toy"), [], stem="a")) == [Format.TOY]
for command in (oflow, worker):
    told = CliRunner().invoke(command, ["reconstruct", "--help"], env={"COLUMNS": "200"}).output
    assert "npz|toy" in told and ".toy" in told, told
assert controls()["$defs"]["Format"]["enum"][-1] == "toy"
document = create_app(Settings(redis_url="redis://127.0.0.1:1/0")).openapi()
assert document["components"]["schemas"]["Format"]["enum"][-1] == "toy"
"""
INPUT = """    ".toy": read_toy,
"""
READER = """from service.core.sequences.readers.frame import Frame, Source, read_whole
import numpy as np

def read_toy(source: Source, limit: int) -> Frame:
    return Frame(np.frombuffer(read_whole(source), np.float32).reshape(-1, 3))
"""
INPUT_PROBE = """
import io, zipfile
import numpy as np
from service.core.sequences.formats import WANTED
from service.core.sequences.sequence import read_sequence

points = np.random.default_rng(0).random((2, 40, 3), np.float32)
file = io.BytesIO()
with zipfile.ZipFile(file, "w") as archive:
    for name, frame in zip(("a.toy", "b.toy"), points):
        archive.writestr(name, frame.tobytes())
assert np.array_equal(np.stack(read_sequence(file).points), points)
assert ".toy" in WANTED
"""


def insert(file: Path, before: str, lines: str) -> None:
    text = file.read_text()
    assert text.count(before) == 1
    file.write_text(text.replace(before, lines + before))


def probe(folder: Path, code: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("configs", "model", "service", "worker"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.pt"))
    return tmp_path


def test_an_option_is_one_field(copy: Path) -> None:
    file = copy / "service" / "core" / "jobs" / "options.py"
    insert(file, '    @field_validator("formats"', OPTION)
    insert(file, "import json\n", "from typing import Literal\n")
    probe(copy, OPTION_PROBE)


def test_an_output_format_is_a_writer_and_a_line(copy: Path) -> None:
    (copy / "model" / "meshes" / "toy.py").write_text(WRITER)
    insert(copy / "service" / "core" / "jobs" / "formats.py", "\n    def __new__", FORMAT)
    probe(copy, FORMAT_PROBE)


def test_an_input_format_is_a_reader_and_a_line(copy: Path) -> None:
    folder = copy / "service" / "core" / "sequences"
    (folder / "readers" / "toy.py").write_text(READER)
    insert(folder / "formats.py", "}\n", INPUT)
    insert(
        folder / "formats.py", "\nFRAME_READERS", "from service.core.sequences.readers.toy import read_toy\n"
    )
    probe(copy, INPUT_PROBE)
