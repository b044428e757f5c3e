"""Meshes as other programs write them give the data set that a plain file of the same shape gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.service.core.readers.meshes import ball, obj, ply, triangles
from worker.data.build import build
from worker.data.errors import DataError
from worker.data.frame_writer import Sampling, write_frames
from worker.data.frames import NpzFrames, read_frame
from worker.data.mesh_sequences import find_mesh_sequences, split_at_gaps
from worker.data.pack import pack
from worker.data.packed import PackedFrames, packed_folder

VERTICES, POLYGONS = ball()
FACES = triangles(POLYGONS)
HALF = len(FACES) // 2
POINTS = 2000
PLAIN = obj(VERTICES, FACES)
Frames = dict[str, NDArray[Any]]


def built(folder: Path, data: str | bytes, ending: str = "obj") -> tuple[Frames, Frames]:
    """The first frame of the data set made from three equal meshes: surface, and points in the box."""
    source = folder / "in" / "take"
    source.mkdir(parents=True)
    for number in range(3):
        (source / f"{number:05d}.{ending}").write_bytes(data if isinstance(data, bytes) else data.encode())
    (sequence,) = split_at_gaps(find_mesh_sequences([folder / "in"]))
    write_frames(sequence, folder / "out", range(1), Sampling(POINTS, seed=0, meshes=False))
    return tuple(  # type: ignore[return-value]
        dict(np.load(folder / "out" / kind / "00000000.npz")) for kind in ("pcl_seq", "points_seq")
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, Frames]:
    return built(tmp_path_factory.mktemp("plain"), PLAIN)


MATERIALS = (
    obj(VERTICES, [])
    + "usemtl skin\n"
    + obj([], FACES[:HALF])
    + "g cloth\nusemtl cloth\ns off\n"
    + obj([], FACES[HALF:])
)
RELATIVE = obj(VERTICES, []) + "".join(
    "f " + " ".join(str(corner - len(VERTICES)) for corner in face) + "\n" for face in FACES
)
TEXTURED = PLAIN.replace("f ", "vt 0 0\nvn 0 0 1\nf ", 1)
TEXTURED = "".join(
    line if line[:2] != "f " else "f " + " ".join(f"{corner}/1/1" for corner in line.split()[1:]) + "\n"
    for line in TEXTURED.splitlines(keepends=True)
)


@pytest.mark.parametrize(
    ("data", "ending"),
    [
        (PLAIN + "v 40.0 0.0 0.0\n", "obj"),  # a pivot that no face uses
        ("v 9 9 9\n" + obj(VERTICES, [tuple(c + 1 for c in face) for face in FACES]), "obj"),
        (MATERIALS, "obj"),
        (obj(VERTICES, FACES, word="v\t"), "obj"),
        (obj(VERTICES, FACES, face="f\t"), "obj"),
        ("".join("  " + line for line in PLAIN.splitlines(keepends=True)), "obj"),
        (PLAIN.replace("\n", " # scanner 3\n", 5), "obj"),
        (PLAIN.replace("\n", "\r\n"), "obj"),
        (PLAIN.replace("f 1 ", "f 1 \\\n  ", 4), "obj"),
        (RELATIVE, "obj"),
        (TEXTURED, "obj"),
        (obj(VERTICES, POLYGONS), "obj"),
        (obj(VERTICES, [face[::-1] for face in FACES]), "obj"),  # inside out
        (ply(VERTICES, POLYGONS, "ascii"), "ply"),
        (ply(VERTICES, POLYGONS, "binary_little_endian"), "ply"),
        (ply(VERTICES, POLYGONS, "binary_big_endian"), "ply"),
    ],
)
def test_dialects_give_the_same_data_set(
    tmp_path: Path, plain: tuple[Frames, Frames], data: str | bytes, ending: str
) -> None:
    surface, box = built(tmp_path, data, ending)
    np.testing.assert_allclose(surface["loc"], [0, 0.9, 0], atol=1e-3)
    assert abs(float(surface["scale"]) - 1.8) < 1e-5
    volume = 4 / 3 * np.pi * 0.3 * 0.9 * 0.25 / (1.1 * 1.8) ** 3  # of the egg in the box, 3.6 %
    inside = np.unpackbits(box["occupancies"])[:POINTS]
    assert 0.6 * volume < inside.mean() < 1.2 * volume
    np.testing.assert_array_equal(box["points"], plain[1]["points"])
    assert (inside != np.unpackbits(plain[1]["occupancies"])[:POINTS]).mean() < 0.002


def test_a_mirrored_part_is_solid_and_a_cavity_is_not(tmp_path: Path) -> None:
    count = len(VERTICES)
    middle = VERTICES - [0, 0.9, 0]

    def joined(*parts: tuple[NDArray[Any], bool]) -> str:
        vertices = np.concatenate([part for part, _ in parts])
        faces = []
        for index, (_, turned) in enumerate(parts):
            faces += [tuple(c + index * count for c in (face[::-1] if turned else face)) for face in FACES]
        return obj(vertices, faces)

    def share(name: str, data: str) -> float:
        _, box = built(tmp_path / name, data)
        return float(np.unpackbits(box["occupancies"])[:POINTS].mean())

    left, right = middle - np.array([1, 0, 0]), middle + np.array([1, 0, 0])
    wanted = share("pair", joined((left, False), (right, False)))
    assert wanted > 0.02
    assert share("mirrored", joined((left, False), (right, True))) == wanted
    assert share("all", joined((left, True), (right, True))) == wanted
    full, hollow = share("full", joined((middle, False))), joined((middle, False), (0.8 * middle, True))
    assert abs(share("hollow", hollow) / full - (1 - 0.8**3)) < 0.1
    outside_in = joined((middle, True), (0.8 * middle, False))
    assert abs(share("turned", outside_in) / full - (1 - 0.8**3)) < 0.1


def test_meshes_far_from_the_origin_stay_in_their_box(tmp_path: Path) -> None:
    place = np.array([500123.5, 5412345.75 - 0.9 + 0.49, 300.0])
    surface, _ = built(tmp_path, obj(VERTICES + place, FACES))
    assert surface["loc"].dtype == np.float64
    low, high = surface["points"].min(axis=0), surface["points"].max(axis=0)
    np.testing.assert_allclose([low[1], high[1]], [-0.5, 0.5], atol=0.01)
    frame = read_frame(tmp_path / "out" / "pcl_seq" / "00000000.npz")
    np.testing.assert_allclose(frame.loc - place, [0, 0.9, 0], atol=1e-5)


def test_packed_frames_keep_far_places(tmp_path: Path) -> None:
    built(tmp_path, obj(VERTICES + np.array([500123.5, 5412345.34, 300.0]), FACES))
    sequence = tmp_path / "set" / "D-FAUST" / "take"
    sequence.parent.mkdir(parents=True)
    (tmp_path / "out").rename(sequence)
    assert pack(tmp_path / "set") == 0
    frames = PackedFrames(packed_folder(sequence / "pcl_seq"))
    np.testing.assert_array_equal(frames[0].loc, NpzFrames(sequence / "pcl_seq")[0].loc)


def test_a_gap_in_the_numbers_ends_a_sequence(tmp_path: Path) -> None:
    source = tmp_path / "in" / "take"
    source.mkdir(parents=True)
    for number in (0, 1, 2, 13, 14):
        (source / f"scan_{number:04d}_v2.obj").write_text(PLAIN)
    sequences = split_at_gaps(find_mesh_sequences([tmp_path / "in"]))
    assert {s.name: s.numbers for s in sequences} == {"take_00000": (0, 1, 2), "take_00013": (13, 14)}
    (source / "scan_0013_v2.obj").unlink()
    (source / "scan_0014_v2.obj").unlink()
    assert [s.name for s in split_at_gaps(find_mesh_sequences([tmp_path / "in"]))] == ["take"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("v 0", "v zero", 1), r"line 1: .*'v zero"),
        (lambda text: text.replace("f 1 ", "f 99999 ", 1), "face with a missing vertex"),
        (lambda text: text.split("f ")[0], "holds no triangles"),
    ],
)
def test_faults_name_the_file_and_the_line(tmp_path: Path, change: Callable[[str], str], words: str) -> None:
    (tmp_path / "take").mkdir()
    (tmp_path / "take" / "0.obj").write_text(change(PLAIN))
    (sequence,) = find_mesh_sequences([tmp_path])
    with pytest.raises(DataError, match=f"0.obj.*{words}"):
        _ = sequence.faces


def test_a_gap_is_told_when_a_data_set_is_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in" / "take"
    source.mkdir(parents=True)
    for number in (0, 1, 5):
        (source / f"{number}.obj").write_text(PLAIN)
    assert build([tmp_path / "in"], tmp_path / "out", "class", Sampling(10, 0, False), workers=1) == 0
    assert {path.name for path in (tmp_path / "out" / "class").iterdir() if path.is_dir()} == {
        "take_00000",
        "take_00005",
    }
