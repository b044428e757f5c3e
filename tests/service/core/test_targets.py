"""Where results go, decided before any work begins."""

import os
from pathlib import Path

import pytest

from service.core.jobs.formats import Format
from service.core.jobs.targets import TargetError, plan_targets


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    path = tmp_path / "knees.npz"
    path.write_text("the input")
    return path


@pytest.mark.parametrize(
    ("out", "formats", "files"),
    [
        (None, "", "knees.glb"),
        (None, "obj", "knees.obj.zip"),
        (None, "npz", "knees.mesh.npz"),  # knees.npz is the input
        (None, "glb npz", "knees.glb knees.mesh.npz"),
        ("a.glb", "", "a.glb"),
        ("a.GLB", "", "a.GLB"),
        ("new/a.ply.zip", "", "new/a.ply.zip"),
        ("a.zip", "", "a.zip"),
        ("a.zip", "ply", "a.zip"),
        ("folder", "", "folder/knees.glb"),
        ("folder", "npz", "folder/knees.npz"),
        (".", "npz", "knees.mesh.npz"),
        ("new", "glb ply", "new/knees.glb new/knees.ply.zip"),
    ],
)
def test_every_format_has_its_file(source: Path, out: str | None, formats: str, files: str) -> None:
    asked = [Format[name.upper()] for name in formats.split()]
    planned = plan_targets(out and Path(out), asked, stem="knees", source=source)  # type: ignore[arg-type]
    assert [os.path.relpath(file) for file in planned.values()] == files.split()
    assert set(planned) == set(asked) or not asked
    assert all(file.parent.is_dir() for file in planned.values())


def test_the_name_decides_the_format(source: Path) -> None:
    names = {"a.glb": "glb", "a.obj.zip": "obj", "a.zip": "obj", "a.ply.zip": "ply", "a.npz": "npz"}
    for name, wanted in names.items():
        assert [*plan_targets(Path(name), [], stem="a", source=source)] == [wanted]


@pytest.mark.parametrize(
    ("out", "formats", "words"),
    [
        ("knees.npz", "npz", "is the input and would be overwritten"),
        ("folder/../knees.npz", "", "is the input"),
        ("link.npz", "", "is the input"),
        ("a.obj", "obj", r"expected one ending in \.obj\.zip"),
        ("a.ply.zip", "obj", "expected one ending in"),
        ("a.glb", "npz", r"expected one ending in \.npz"),
        ("a.fbx", "", r"ends in '\.fbx': expected \.glb, \.obj\.zip"),
        ("knees.npz/a.glb", "", "cannot be created"),
        ("knees.npz", "glb obj", "cannot be created"),
        ("locked/a.glb", "", "cannot be written to"),
    ],
)
def test_refusals(source: Path, out: str, formats: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (source.parent / "link.npz").symlink_to(source)
    allowed = os.access  # root may write anywhere
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and allowed(path, mode))
    with pytest.raises(TargetError, match=words):
        plan_targets(
            Path(out), [Format[name.upper()] for name in formats.split()], stem="knees", source=source
        )
    assert source.read_text() == "the input"
