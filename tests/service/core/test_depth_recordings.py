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


def test_images_of_several_sizes_need_the_size_that_the_camera_is_of() -> None:
    """What fx, fy, cx, cy mean for each is not known otherwise."""
    camera = {"fx": 20, "fy": 20, "cx": 7.5, "cy": 5.5}
    files = {
        "0.png": DEPTH[0],
        "1.png": png(np.full((24, 32), 2000, np.uint16)),
        "2.png": DEPTH[2],
    }
    message = (
        r"1\.png: is of another size .*found 32 by 24 pixels, after 16 by 12 pixels in .*0\.png.*`width`"
    )
    with pytest.raises(SequenceError, match=message) as caught:
        read_sequence(packed(files | {"camera.json": json.dumps(camera).encode()}))
    assert len(caught.value.faults) == 1
    sized = json.dumps(camera | {"width": 16, "height": 12}).encode()
    small, large, _ = read_sequence(packed(files | {"camera.json": sized})).points
    assert np.ptp(large, axis=0)[0] == pytest.approx(np.ptp(small, axis=0)[0] * 31 / 30, rel=0.01)


def archive(**arrays: object) -> io.BytesIO:
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    return out


IMAGES = np.stack([np.full((12, 16), 2000 + 10 * t, np.uint16) for t in range(3)])
K = np.array([[20, 0, 7.5], [0, 20, 5.5], [0, 0, 1]])


@pytest.mark.parametrize(
    "arrays",
    [
        {"depth": IMAGES, "K": K},
        {"depth": IMAGES.astype(np.int32), "intrinsics": K, "depth_scale": 0.001},
        {"depth": IMAGES / 1000, "camera_matrix": K.T},
        {"depth": (IMAGES / 1000).astype(np.float32), "fx": 20, "fy": 20.0, "cx": [7.5], "cy": 5.5},
        {"depth": IMAGES, "fx": 40, "fy": 40, "ppx": 15.5, "ppy": 11.5, "width": 32, "height": 24},
    ],
)
def test_an_archive_of_depth_images_is_read_as_the_images_are(arrays: dict[str, object]) -> None:
    wanted = read_sequence(packed(OPEN3D | {"intrinsic.json": JSON}))
    found = read_sequence(archive(**arrays, times=[0, 0.1, 0.3]))
    np.testing.assert_allclose(found.points, wanted.points, rtol=1e-4)
    assert found.times.tolist() == pytest.approx([0, 0.1, 0.3])
    assert found.corresponding is False


def test_each_image_may_have_a_camera_of_its_own() -> None:
    """As of a lens that zooms, and of phones. A flat wall stays as large while the image of it grows."""
    zoom = np.array([1.0, 1.5, 2.0])
    of_each = K * np.stack([zoom, zoom, np.ones(3)], axis=1)[:, :, None]  # [T, 3, 3]
    of_each[:, :2, 2] = K[:2, 2]
    numbers = {"fx": 20 * zoom, "fy": 20 * zoom, "cx": [7.5] * 3, "cy": 5.5}
    for camera in ({"K": of_each}, {"intrinsics": np.swapaxes(of_each, 1, 2)}, numbers):
        sequence = read_sequence(archive(depth=IMAGES, **camera))
        for points, image, factor in zip(sequence.points, IMAGES, zoom, strict=True):
            away = image.mean() / 1000
            width, height = np.ptp(points, axis=0)[:2]
            assert width == pytest.approx(15 * away / (20 * factor), rel=1e-5)
            assert height == pytest.approx(11 * away / (20 * factor), rel=1e-5)


def test_pixels_of_an_archive_without_a_depth_are_left_out() -> None:
    depth = (IMAGES / 1000).astype(np.float32)
    depth[0, 0, :5] = np.nan, np.inf, -1, 0, 90
    sequence = read_sequence(archive(depth=depth, K=K, depth_max=80))
    assert sequence.points_per_frame == (187, 192, 192)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"depth: has no valid camera \(found depth; wanted K \[3, 3\], or fx, fy, cx and cy"),
        ({"K": K[:2]}, r"^K: has the wrong shape \(found \[2, 3\]; wanted \[3, 3\] or \[3, 3, 3\]\)$"),
        ({"K": [K] * 2}, r"^K: has the wrong shape \(found \[2, 3, 3\]; wanted \[3, 3\] or \[3, 3, 3\]\)$"),
        (
            {"K": [K, -K, K]},
            r"^depth\[1\]: has no valid camera \(found K \[\[-20, -0, -7.5\], .* are positive\)",
        ),
        ({"K": [K, K, K * 9]}, r"^depth\[2\]: is no image of the camera"),
        ({"K": K, "depth_scale": [1000] * 3}, r"^depth_scale: has the wrong shape .*wanted a single value"),
        ({"K": -K}, r"has no valid camera \(found K \[\[-20, -0, -7.5\], .* are positive\)"),
        ({"K": K, "depth_scale": 0}, r"has no valid camera .*depth_scale 0;"),
        ({"K": K, "width": 32}, r"has no valid camera .*width 32;"),
        ({"K": K, "width": -16, "height": -12}, "has no valid camera"),
        ({"K": K * 9}, r"^depth\[0\]: is no image of the camera .*16 by 12 pixels.*`width`.*\)$"),
        ({"K": K * 2 + [[0, 0, 0.5], [0, 0, 0.5], [0, 0, -1]]}, r"depth\[0\]: is no image of the camera"),
        ({"K": K / [[32], [24], [1]]}, r"depth\[0\]: is no image .*fx 0.625, fy 0.833333, .*in pixels"),
        ({"K": K, "depth_max": 1}, r"depth\[0\]: shows nothing within `depth_max`"),
        ({"K": K, "color": IMAGES}, r"color: is not a recognized key .*wanted depth, times, "),
        ({"K": K, "times": [0, 1]}, r"times: has the wrong shape \(found \[2\]; wanted \[3\]\)"),
        ({"K": K, "depth": IMAGES[0]}, r"depth: has the wrong shape .*wanted \[T, H, W\]"),
        ({"K": K, "colors": IMAGES}, r"colors: is not a recognized key .*height\)$"),
        ({"K": K, "depth": IMAGES[:1]}, r"^depth: .*1 frame"),
        ({"K": K, "depth": IMAGES[:0]}, r"^depth: .*0 frames"),
        ({"K": K, "depth": IMAGES[:, :0]}, r"^depth: has empty images \(found \[3, 0, 16\]"),
        ({"K": K, "depth": IMAGES * 0}, r"^depth\[0\]: has too few pixels with a depth \(found 0 of 192"),
        ({"K": K, "depth": IMAGES / -1000}, r"found 0 of 192 pixels; .*32 .*negative numbers"),
        ({"K": K, "depth": np.asfortranarray(IMAGES)}, "is in Fortran order"),
        ({"K": K, "depth": IMAGES / 1e-30}, "coordinate"),
    ],
)
def test_an_archive_of_depth_images_is_refused_with_its_fault(
    arrays: dict[str, object], message: str
) -> None:
    with pytest.raises(SequenceError, match=message):
        read_sequence(archive(**{"depth": IMAGES} | arrays))


def test_a_crop_whose_center_is_in_the_corner_is_read_if_its_size_is_given() -> None:
    """Without it the camera is more likely that of larger images."""
    corner = np.array([[20, 0, 15], [0, 20, 11], [0, 0, 1]])
    assert read_sequence(archive(depth=IMAGES, K=corner, width=16, height=12)).points_per_frame == (192,) * 3
    with pytest.raises(SequenceError, match="is no image of the camera"):
        read_sequence(archive(depth=IMAGES, K=corner))


def test_limits_hold_for_an_archive_of_depth_images() -> None:
    assert read_sequence(archive(depth=IMAGES, K=K), Limits(max_points=300)).points_per_frame == (100,) * 3
    with pytest.raises(SequenceError, match="has too many frames"):
        read_sequence(archive(depth=IMAGES, K=K), Limits(max_frames=2))


def test_other_names_of_depth_are_told_the_right_one() -> None:
    with pytest.raises(SequenceError, match=r"wanted points, or for depth images .*depth \[T, H, W\] with K"):
        read_sequence(archive(depths=IMAGES, K=K))


@pytest.mark.parametrize("camera", [{"K": K > 0}, {"K": [K] * 2}, {"fx": np.full(3, 1j)}])
def test_a_camera_of_the_wrong_type_is_not_missed_as_well(camera: dict[str, object]) -> None:
    with pytest.raises(SequenceError) as caught:
        read_sequence(archive(depth=IMAGES, **camera))
    assert [fault.key for fault in caught.value.faults] == list(camera)
