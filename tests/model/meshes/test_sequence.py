import json
from typing import Any

import numpy as np
import pytest
import trimesh

from model.errors import InputError
from model.meshes.sequence import FitReport, MeshSequence
from service.core.jobs.formats import Format
from worker.pipeline import write_meshes

BOX = trimesh.creation.box()


def sequence(**changes: Any) -> MeshSequence:
    arrays = {
        "vertices": np.stack([BOX.vertices, BOX.vertices + 0.5, BOX.vertices + 1]),
        "faces": BOX.faces,
        "times": [0.0, 0.04, 0.08],
    }
    return MeshSequence(**(arrays | changes))


def test_holds_vertices_at_full_precision() -> None:
    meshes = sequence(vertices=sequence().vertices + 1e9)
    assert (meshes.vertices.dtype, meshes.faces.dtype, meshes.times.dtype) == (
        np.dtype(np.float64),
        np.dtype(np.int32),
        np.dtype(np.float64),
    )
    np.testing.assert_array_equal(meshes.vertices[1] - meshes.vertices[0], 0.5)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"vertices": np.zeros((8, 3))}, r"vertices have shape \(8, 3\), wanted \[T, V, 3\]"),
        ({"vertices": np.zeros((0, 8, 3)), "times": []}, "at least one frame and one vertex"),
        ({"vertices": np.full((3, 8, 3), np.nan)}, "vertices hold NaN or infinity"),
        ({"faces": np.zeros((0, 3), int)}, "at least one row of integers"),
        ({"faces": BOX.faces.astype(float)}, "of float64, wanted at least one row of integers"),
        ({"faces": BOX.faces + 1}, "faces name vertices 1 to 8, but there are only 0 to 7"),
        ({"faces": BOX.faces - 1}, "faces name vertices -1 to 6"),
        ({"times": [0.0, 1.0]}, r"times have shape \(2,\), wanted \[3\]"),
        ({"times": [0.0, 1.0, 1.0]}, "times do not increase"),
        ({"times": [0.0, 1.0, np.inf]}, "times do not increase"),
        ({"colors": np.zeros((8, 3))}, r"of float64, wanted uint8 \[8, 3\]"),
        ({"colors": np.zeros((7, 3), np.uint8)}, r"colors have shape \(7, 3\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        sequence(**changes)


def test_watertight() -> None:
    assert sequence().watertight
    assert not sequence(faces=BOX.faces[1:]).watertight
    turned = BOX.faces.copy()
    turned[3] = turned[3, ::-1]
    assert not sequence(faces=turned).watertight
    assert not sequence(faces=np.concatenate([BOX.faces, BOX.faces])).watertight


def test_fps_is_the_median_and_0_for_a_still() -> None:
    assert sequence().fps == pytest.approx(25)
    assert sequence(times=[0.0, 1.0, 1.5]).fps == pytest.approx(1 / 0.75)
    assert MeshSequence(BOX.vertices[None], BOX.faces, np.array([3.0])).fps == 0


def test_fit_report_is_frozen_and_speaks_json() -> None:
    report = FitReport(np.array([0.0, 1.0]), np.array([0.1, 0.2]), np.array([0.3, 0.4]))
    assert json.loads(json.dumps(report.to_dict())) == {
        "times": [0, 1],
        "mean": [0.1, 0.2],
        "p95": [0.3, 0.4],
    }
    with pytest.raises(AttributeError):
        report.mean = report.p95  # type: ignore[misc]  # it cannot, as the checker knows


def test_every_format_has_a_writer() -> None:
    starts = {file_format: write_meshes(sequence(), file_format)[:4] for file_format in Format}
    assert starts == {
        "glb": b"glTF",
        "obj": b"PK\3\4",
        "ply": b"PK\3\4",
        "npz": b"PK\3\4",
        "webp": b"RIFF",
        "usdz": b"PK\3\4",
        "usdc": b"PXR-",
        "mdd": b"PK\3\4",
        "pc2": b"PK\3\4",
    }
    assert len({file_format.suffix for file_format in Format}) == len(Format)
