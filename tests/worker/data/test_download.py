"""Downloads survive a line that breaks; meshes go to the sequences that they belong to."""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
import typer
from typer.testing import CliRunner

from tests.worker.file_host import Host
from worker import fetch as module
from worker.commands.data_creation import download, migrate
from worker.data.frame_writer import Sampling, write_frames
from worker.data.mesh_sequences import find_mesh_sequences

app = typer.Typer()
app.command()(download)
app.command()(migrate)


def run(*arguments: Any) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / "made.zip"
    noise = np.random.default_rng(0)
    with zipfile.ZipFile(file, "w") as target:
        for number in range(4):
            target.writestr(f"Humans/D-FAUST/50002_knees/pcl_seq/{number:08d}.npz", noise.bytes(60_000))
        target.writestr("Humans/D-FAUST/train.lst", "50002_knees\n")
    return file


@pytest.fixture
def host(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    served = Host(archive.read_bytes(), "Humans.zip")
    yield served
    served.server.shutdown()


def members(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as source:
        return {name: source.read(name) for name in source.namelist()}


def on_disk(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_a_broken_line_is_taken_up_where_it_broke(host: Host, archive: Path, tmp_path: Path) -> None:
    host.breaks = [100_000, 50_000]
    digest = hashlib.sha256(host.content).hexdigest()
    code, output = run("download", tmp_path / "data", "--url", host.url, "--sha256", digest)
    assert code == 0, output
    assert host.ranges == [None, "bytes=100000-", "bytes=150000-"]
    lists = {"Humans/D-FAUST/train_generative.lst": b"50002_knees\n"}
    assert on_disk(tmp_path / "data") == members(archive) | lists, "nothing else is left behind"


def test_a_killed_download_is_taken_up_by_the_next(host: Host, archive: Path, tmp_path: Path) -> None:
    (tmp_path / ".Humans.zip.part").write_bytes(host.content[:70_000])
    (tmp_path / ".Humans.zip.part.version").write_text(host.tag)
    code, _ = run("download", tmp_path, "--url", host.url, "--keep")
    assert code == 0
    assert host.ranges == ["bytes=70000-"]
    assert (tmp_path / "Humans.zip").read_bytes() == host.content
    (tmp_path / "Humans/D-FAUST/train.lst").unlink()
    host.status = 404  # no longer needed
    assert run("download", tmp_path, "--url", host.url)[0] == 0
    assert (tmp_path / "Humans/D-FAUST/train.lst").read_text() == "50002_knees\n"
    assert not (tmp_path / "Humans.zip").exists()


def test_a_part_of_another_version_is_not_gone_on_with(host: Host, tmp_path: Path) -> None:
    (tmp_path / ".Humans.zip.part").write_bytes(b"old" * 1000)
    (tmp_path / ".Humans.zip.part.version").write_text('"older"')
    assert run("download", tmp_path, "--url", host.url, "--keep")[0] == 0
    assert (tmp_path / "Humans.zip").read_bytes() == host.content


def test_a_line_that_brings_nothing_more_ends_with_what_to_do(host: Host, tmp_path: Path) -> None:
    host.breaks = [90_000] + [0] * 10
    code, output = run("download", tmp_path, "--url", host.url)
    assert code == 2
    assert "the connection was lost after 90000 of" in output
    assert "worker data bodies" in output
    host.breaks = []
    assert run("download", tmp_path, "--url", host.url)[0] == 0
    assert host.ranges[-1] == "bytes=90000-"


def test_a_host_that_is_gone_and_a_file_that_is_not_there(host: Host, tmp_path: Path) -> None:
    host.status = 404
    code, output = run("download", tmp_path, "--url", host.url)
    assert code == 2
    assert "cannot be downloaded: HTTP 404" in output
    assert "--url" in output
    host.server.shutdown()
    host.server.server_close()
    code, output = run("download", tmp_path, "--url", host.url)
    assert code == 2
    assert "does not answer" in output
    assert run("download", tmp_path, "--url", "file:///etc/passwd")[0] == 2


def test_a_wrong_checksum_and_a_damaged_archive_are_told(host: Host, tmp_path: Path) -> None:
    code, output = run("download", tmp_path, "--url", host.url, "--sha256", "0" * 64)
    assert code == 2
    assert "has SHA-256" in output
    assert not (tmp_path / "Humans.zip").exists(), "so that the next call fetches it again"
    damaged = bytearray(host.content)
    damaged[30_000] ^= 255
    host.content = bytes(damaged)
    code, output = run("download", tmp_path, "--url", host.url)
    assert code == 2
    assert "Bad CRC-32" in output
    assert not list((tmp_path / "Humans").rglob("00000000.npz"))


def test_an_archive_cannot_write_outside_its_folder(host: Host, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as target:
        target.writestr("../outside.txt", "x")
    host.content = (tmp_path / "evil.zip").read_bytes()
    code, output = run("download", tmp_path / "data", "--url", host.url)
    assert code == 2
    assert "lies outside" in output
    assert not (tmp_path / "outside.txt").exists()


@pytest.fixture
def class_folder(tmp_path: Path) -> Path:
    """A data set of two sequences without meshes, and the meshes of one of them and of a stranger."""
    ball = trimesh.creation.icosphere(2)
    for name, size in (("50002_knees", 1.0), ("50004_hips", 2.0), ("50009_stranger", 3.0)):
        folder = tmp_path / "meshes" / name
        folder.mkdir(parents=True)
        for number in range(3):
            moved = trimesh.Trimesh(ball.vertices * size + 0.1 * number, ball.faces, process=False)
            moved.export(folder / f"{number:05d}.{'ply' if name == '50004_hips' else 'obj'}")
    for sequence in find_mesh_sequences([tmp_path / "meshes"])[:2]:
        write_frames(sequence, tmp_path / "D-FAUST" / sequence.name, range(3), Sampling(50, 0, meshes=False))
    return tmp_path / "D-FAUST"


def test_meshes_go_to_their_sequences(class_folder: Path, tmp_path: Path) -> None:
    code, output = run("migrate", tmp_path / "meshes", class_folder)
    assert code == 0, output
    assert "2 sequences have meshes, 1 others were left out" in output
    source = tmp_path / "meshes" / "50002_knees" / "00001.obj"
    assert (class_folder / "50002_knees" / "mesh_seq" / "00001.obj").read_bytes() == source.read_bytes()
    converted = trimesh.load(class_folder / "50004_hips" / "mesh_seq" / "00002.obj", process=False)
    assert converted.bounds[1].max() == pytest.approx(2.2, abs=0.01)
    assert not (class_folder / "50009_stranger").exists()
    assert "the published split of D-FAUST in train.lst, train_generative.lst" in output
    assert (class_folder / "train.lst").read_text() == "50002_knees\n50004_hips\n"
    assert run("migrate", tmp_path / "meshes", class_folder)[0] == 0, "again"


def test_meshes_that_are_others_are_refused(class_folder: Path, tmp_path: Path) -> None:
    knees = tmp_path / "meshes" / "50002_knees"
    (knees / "00001.obj").unlink()
    code, output = run("migrate", tmp_path / "meshes", class_folder)
    assert code == 2
    assert "has frame 1, and" in output
    for number in range(3):
        trimesh.creation.icosphere(2, radius=1.05).export(knees / f"{number:05d}.obj")
    code, output = run("migrate", tmp_path / "meshes", class_folder)
    assert code == 2
    assert "is not the mesh of" in output
    assert run("migrate", tmp_path / "meshes" / "50009_stranger", class_folder)[0] == 2
    assert run("migrate", tmp_path / "meshes", tmp_path / "absent")[0] == 2
