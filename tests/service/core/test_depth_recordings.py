"""Depth images in folders, as recorders lay them out."""

import io
import json
import zipfile

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.core.sequences.errors import Limits, SequenceError
from service.core.sequences.sequence import read_sequence

CAMERA = {"width": 16, "height": 12, "intrinsic_matrix": [20, 0, 0, 0, 20, 0, 7.5, 5.5, 1]}


def png(values: NDArray[np.generic]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    return out.getvalue()


DEPTH = [png(np.full((12, 16), 2000 + 10 * t, np.uint16)) for t in range(3)]
COLOR = png(np.zeros((12, 16, 3), np.uint8))
JSON = json.dumps(CAMERA).encode()
TUM = {
    **{f"depth/130503110{t}.160407.png": data for t, data in enumerate(DEPTH)},
    **{f"rgb/130503110{t}.175304.png": COLOR for t in range(3)},
    "depth.txt": b"# timestamp filename\n",
    "groundtruth.txt": b"# timestamp tx ty tz qx qy qz qw\n",
}
OPEN3D = {
    **{f"depth/{t:06d}.png": data for t, data in enumerate(DEPTH)},
    **{f"color/{t:06d}.jpg": b"" for t in range(3)},
}


def packed(files: dict[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"recording/{name}", data)
    return out


@pytest.mark.parametrize("files", [TUM, OPEN3D])
def test_of_a_recording_the_depth_images_are_read(files: dict[str, bytes]) -> None:
    sequence = read_sequence(packed(files | {"intrinsic.json": JSON}))
    assert sequence.points_per_frame == (192, 192, 192)
    assert [round(-float(cloud[0, 2]), 2) for cloud in sequence.points] == [2.0, 2.01, 2.02]
    assert sequence.timed == (files is TUM)


def test_a_recording_without_its_camera_is_told_what_to_write() -> None:
    with pytest.raises(SequenceError, match=r'wanted one JSON file with .*"fx": 525.*"depth_scale": 1000'):
        read_sequence(packed(TUM))


def test_scans_beside_depth_images_are_not_passed_over() -> None:
    with pytest.raises(SequenceError, match="files that are not frames"):
        read_sequence(packed(OPEN3D | {"intrinsic.json": JSON, "scans/0.ply": b"ply"}))


def test_depth_images_of_a_long_recording_share_the_limit_of_points() -> None:
    sequence = read_sequence(packed(OPEN3D | {"intrinsic.json": JSON}), Limits(max_points=300))
    assert sequence.points_per_frame == (100, 100, 100)


@pytest.mark.parametrize("key", ["intrinsic_matrix", "K", "camera_matrix"])
@pytest.mark.parametrize("matrix", [[20, 0, 0, 0, 20, 0, 7.5, 5.5, 1], [20, 0, 7.5, 0, 20, 5.5, 0, 0, 1]])
def test_a_matrix_may_be_written_by_columns_or_by_rows(key: str, matrix: list[float]) -> None:
    value = {"rows": 3, "cols": 3, "data": matrix} if key == "camera_matrix" else matrix
    sequence = read_sequence(packed(OPEN3D | {"camera.json": json.dumps({key: value}).encode()}))
    np.testing.assert_allclose(np.mean(sequence.points[0], axis=0), [0, 0, -2], atol=1e-6)


def test_a_depth_max_that_leaves_nothing_is_named() -> None:
    for most, message in (
        (0.5, r"shows nothing within `depth_max` \(found depths from 2 to 2, depth_max 0.5; wanted a larger"),
        (float("nan"), "are not the intrinsics of a camera"),
    ):
        camera = json.dumps(CAMERA | {"depth_max": most}).encode()
        with pytest.raises(SequenceError, match=message):
            read_sequence(packed(OPEN3D | {"camera.json": camera}))
