"""Image sequences: what is read of folders of images, and films of bodies, on disk and drawn."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
import typer
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from model import load_config
from model.config.schema import Config
from model.errors import ConfigError
from tests.worker.geometry import nearest
from worker.commands.data_creation import bodies, build
from worker.data import DataError, build_dataset
from worker.data.bodies_dataset import BodiesDataset
from worker.data.body_sequences import split_bodies
from worker.data.dataset import HumansDataset
from worker.data.pack import pack
from worker.rendering.films import FIXED_VIEW, HIGHEST, View, render
from worker.rendering.pictures import GAMMA, Camera, Pixels

FRAMES, VIEWS, SIZE = 5, 3, 48

app = typer.Typer()
app.command()(bodies)
app.command()(build)


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten sequences of one person, by the command: `data.path`, to read only."""
    folder = tmp_path_factory.mktemp("filmed")
    sizes = ("--people", 1, "--new-people", 0, "--frames", FRAMES, "--points", 64, "--workers", 1)
    run("bodies", folder, *sizes, "--images", VIEWS, "--image-size", SIZE)
    return folder


@pytest.fixture
def pictured(humans: Path) -> Path:
    """The tiny data set with one view, in whose frame i (of 24) red is i of 24: to change."""
    for sequence in (folder for folder in (humans / "D-FAUST").iterdir() if folder.is_dir()):
        view = sequence / "img" / "000"
        view.mkdir(parents=True)
        for frame in range(24):
            Image.new("RGB", (8, 8), (10 * frame, 0, 255)).save(view / f"{frame:08d}.png")
    return humans


def config_of(path: Path, **data: Any) -> Config:
    values = {"path": str(path), "offset_sequence": 0, "img_size": 8} | data
    return load_config("img/oflow_w_correspond", {"data": values})


def filmed_dataset(path: Path, split: Any = "train", **data: Any) -> HumansDataset:
    values = {"classes": ["bodies"], "length_sequence": 3, "img_size": SIZE, "input_pointcloud_n": 30} | data
    dataset = build_dataset(config_of(path, **values), split)
    assert isinstance(dataset, HumansDataset)
    return dataset


def read_all(config: Config) -> None:
    dataset = build_dataset(config, "train")
    for index in range(len(dataset)):
        dataset[index]


def refuses(config: Config, *told: str) -> None:
    with pytest.raises(DataError) as refusal:
        read_all(config)
    for words in told:
        assert words in str(refusal.value)


# Reading


def test_a_window_is_the_images_of_its_frames_scaled_between_0_and_1(pictured: Path) -> None:
    dataset = build_dataset(config_of(pictured, img_size=4), "train")
    assert isinstance(dataset, HumansDataset)
    for index in (0, 3):
        inputs = dataset[index]["inputs"]
        assert (inputs.shape, inputs.dtype) == ((17, 3, 4, 4), np.dtype(np.float32))
        frames = dataset.windows[index].start + np.arange(17)
        np.testing.assert_allclose(inputs[:, 0, 2, 2], 10 * frames / 255, atol=1e-6)
        assert (inputs[:, 1] == 0).all()
        assert (inputs[:, 2] == 1).all()


def test_a_wide_image_loses_its_sides_and_every_kind_becomes_rgb(pictured: Path) -> None:
    view = pictured / "D-FAUST" / "50001_alpha" / "img" / "000"
    across, down = np.meshgrid(np.linspace(0, 255, 120), np.linspace(0, 255, 60))
    wide = np.stack([across, down, 0 * down], axis=-1).astype(np.uint8)
    for frame, kind in enumerate(["RGB", "RGBA", "L", "P", "RGB", "LA", "1"]):
        Image.fromarray(wide).convert(kind).save(view / f"{frame:08d}.png")
    inputs = build_dataset(config_of(pictured, img_size=30, length_sequence=7), "train")[0]["inputs"]
    for color in inputs[[0, 1, 4]]:
        np.testing.assert_allclose(color[0, :, [0, -1]], [[0.25] * 30, [0.75] * 30], atol=0.02)
        np.testing.assert_allclose(color[1, [0, -1]], [[0.0] * 30, [1.0] * 30], atol=0.02)
    for grey in inputs[[2, 5, 6]]:
        assert (grey == grey[:1]).all()


def test_images_are_in_the_order_of_their_numbers(pictured: Path) -> None:
    view = pictured / "D-FAUST" / "50001_alpha" / "img" / "000"
    for frame in range(24):
        (view / f"{frame:08d}.png").rename(view / f"frame{frame}.png")
    inputs = build_dataset(config_of(pictured), "train")[0]["inputs"]
    np.testing.assert_allclose(inputs[:, 0, 0, 0], 10 * np.arange(17) / 255, atol=1e-6)


def test_a_crop_is_one_square_for_all_frames_of_three_quarters_or_more(pictured: Path) -> None:
    slope = np.linspace(0, 255, 90).astype(np.uint8)
    across, down = np.meshgrid(slope, slope)
    image = Image.fromarray(np.stack([across, down, 0 * down], axis=-1))
    for file in pictured.rglob("*.png"):
        image.save(file)
    settings = {"img_size": 60, "img_augment": True, "length_sequence": 3}
    dataset = build_dataset(config_of(pictured, **settings), "train")
    crops = []
    for step in range(60):
        inputs = dataset.sample((0, step))["inputs"]
        assert (inputs == inputs[:1]).all()
        np.testing.assert_array_equal(inputs, dataset.sample((0, step))["inputs"])
        (left, top), (right, bottom) = inputs[0, 0, 0, [0, -1]], inputs[0, 1, [0, -1], 0]
        crops.append((left, right, top - left, bottom - right))
        assert top - left == pytest.approx(bottom - right, abs=0.02), "a square"
    sides = np.array(crops)[:, 2]
    assert 0.85 < sides.min() < 0.9 < 0.97 < sides.max(), "√0.75 to 1"
    assert len(set(np.round(crops, 2)[:, 0])) > 5
    assert build_dataset(config_of(pictured, **settings), "val")[0]["inputs"][0, 0, 0, 0] < 0.01, "whole"


def test_training_draws_any_view_and_validation_sees_the_first(filmed: Path) -> None:
    dataset, window = filmed_dataset(filmed), 4
    seen = {dataset.read(window, np.random.default_rng(seed))["inputs"].tobytes(): seed for seed in range(40)}
    assert len(seen) == VIEWS
    two = filmed_dataset(filmed, n_views=2)
    drawn = {two.read(window, np.random.default_rng(seed))["inputs"].tobytes() for seed in range(40)}
    assert len(drawn) == 2
    assert drawn < set(seen)
    one = filmed_dataset(filmed, n_training_views=1)  # 4 by default, as published, however many there are
    assert len({one.read(window, np.random.default_rng(seed))["inputs"].tobytes() for seed in range(9)}) == 1
    test = filmed_dataset(filmed, "test", test_split="train")
    fixed = {test.read(window, np.random.default_rng(seed))["inputs"].tobytes() for seed in range(10)}
    assert len(fixed) == 1
    assert fixed < drawn
    np.testing.assert_array_equal(dataset.sample((3, 1))["inputs"], dataset.sample((3, 1))["inputs"])


def test_images_are_read_beside_packed_frames(filmed: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(filmed, tmp_path / "copied"))
    before = [filmed_dataset(copied, "val")[index] for index in range(3)]
    assert pack(copied) == 0
    for file in copied.rglob("*.npz"):
        file.unlink()
    for index, item in enumerate(before):
        packed = filmed_dataset(copied, "val")[index]
        assert packed.keys() == item.keys()
        for key in item:
            np.testing.assert_array_equal(packed[key], item[key])


# Refusals


def test_missing_folders_and_images_are_named_before_training_starts(pictured: Path) -> None:
    alpha, beta = (pictured / "D-FAUST" / name / "img" for name in ("50001_alpha", "50002_beta"))
    shutil.copytree(alpha / "000", alpha / "001")
    refuses(config_of(pictured), f"{beta} holds 1 views, and {alpha} 2", "data.n_views: 1")
    assert len(build_dataset(config_of(pictured, n_views=1), "train")[0]["inputs"]) == 17
    shutil.rmtree(alpha / "000")
    refuses(config_of(pictured), f"there is no folder {alpha / '000'}", "data.n_views")
    (alpha / "001").rename(alpha / "000")
    (alpha / "000" / "00000003.png").unlink()
    refuses(config_of(pictured), f"{alpha / '000'} holds 23 images", "wanted 24")
    shutil.rmtree(alpha)
    refuses(config_of(pictured), f"there is no folder {alpha}", "data.img_seq_folder")
    refuses(config_of(pictured, img_seq_folder="renderings"), "renderings", "data.input_type img_seq")


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_an_image_that_cannot_be_read_is_named(pictured: Path, kind: str, damage: str) -> None:
    file = pictured / "D-FAUST" / "50001_alpha" / "img" / "000" / "00000002.png"
    noise = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, format={"png": "PNG", "jpg": "JPEG"}[kind])
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[: len(whole) * 2 // 3], "text": b"not an image", "empty": b""}[damage])
    refuses(config_of(pictured), f"{file} cannot be read as an image")


def test_an_image_that_goes_away_or_is_of_another_size_is_named(pictured: Path) -> None:
    view = pictured / "D-FAUST" / "50001_alpha" / "img" / "000"
    dataset = build_dataset(config_of(pictured), "train")
    (view / "00000002.png").unlink()
    with pytest.raises(DataError, match=f"{re.escape(str(view))} holds 23 images") as refusal:
        dataset[7]
    assert "wanted 24" in str(refusal.value)
    Image.new("RGB", (9, 8)).save(view / "00000002.png")
    with pytest.raises(DataError, match=r"holds images of \[8, 8\] and \[9, 8\] pixels"):
        dataset[0]


@pytest.mark.parametrize("dataset", ["Humans", "bodies"])
@pytest.mark.parametrize("key", ["data.img_with_camera", "model.use_camera"])
def test_cameras_are_refused(dataset: str, key: str) -> None:
    section, name = key.split(".")
    values: dict[str, Any] = {"data": {"dataset": dataset}, "model": {}}
    values[section][name] = True
    with pytest.raises(ConfigError, match=f"{key}: found true, wanted false"):
        build_dataset(load_config("img/oflow", values), "train")


# Rendering and writing


def test_a_film_shows_each_frame_as_its_camera_sees_it(filmed: Path) -> None:
    """Against the vertices themselves: each lies on the body in the image, and no body is far from all."""
    sequence = split_bodies(people=1, new_people=0, frames=FRAMES, seed=0, variety=1.0, turn=30.0)["train"][0]
    film = [
        np.asarray(Image.open(filmed / "bodies" / sequence.name / "img" / "000" / f"{frame:08d}.jpg"))
        for frame in range(FRAMES)
    ]
    camera = Camera.framing(sequence.all_vertices, *FIXED_VIEW, aspect=1.0)
    for frame in (0, FRAMES - 1):
        image = film[frame].astype(int)
        assert image.shape == (SIZE, SIZE, 3)
        body = np.abs(image - image[:, :1]).max(axis=2) > 30  # unlike the left edge of its row: [H, W]
        x, y, _ = camera.project(sequence.vertices(frame), (SIZE, SIZE)).T
        assert body[y.astype(int), x.astype(int)].mean() > 0.85
        rows, columns = np.nonzero(body)
        away = nearest(np.stack([x, y], axis=1), np.stack([columns, rows], axis=1) + 0.5)
        assert away.max() < 3
    assert np.abs(film[0].astype(int) - film[-1]).max() > 60, "the body moves, and the camera does not"


def test_the_outline_is_anti_aliased_and_holds_the_body() -> None:
    ball = trimesh.creation.icosphere(4)
    camera = Camera.framing(ball.vertices, aspect=1.0)
    black = render(ball.vertices, ball.faces, View(camera, np.zeros(3), np.ones((2, 3))), 64)
    covered = 1 - (black[..., 0] / 255) ** GAMMA
    assert covered.sum() == pytest.approx(np.pi * (0.45 * 64) ** 2, rel=0.01)
    assert ((covered > 0.1) & (covered < 0.9)).sum() > 100, "around its rim"


def test_a_camera_further_round_sees_another_side_in_another_light() -> None:
    ball = trimesh.creation.icosphere(4)
    images = []
    for azimuth in (0.0, 180.0):
        view = View(Camera.framing(ball.vertices, azimuth, 0.0, aspect=1.0), np.ones(3), np.zeros((2, 3)))
        images.append(render(ball.vertices, ball.faces, view, 64)[..., 0])
    front, back = images
    assert front.mean() > 1.15 * back.mean(), "the lamps stay where they are"
    assert front[:, 40:].mean() > 1.2 * front[:, :24].mean()
    assert front[:32].mean() > 1.1 * front[32:].mean()


def test_views_are_anywhere_around_and_the_fixed_one_is_not() -> None:
    vertices = trimesh.creation.icosphere(2).vertices[None]
    away = np.array([View.draw(vertices, np.random.default_rng(k)).camera.rotation[2] for k in range(300)])
    assert np.degrees(np.arcsin(away[:, 1])).min() > -1e-6
    assert 0.9 * HIGHEST < np.degrees(np.arcsin(away[:, 1])).max() <= HIGHEST
    quarters = np.floor(np.degrees(np.arctan2(away[:, 0], away[:, 2])) / 90)
    assert np.bincount(quarters.astype(int) + 2).min() > 50
    fixed = [View.draw(vertices, np.random.default_rng(k), fixed=True) for k in range(2)]
    np.testing.assert_array_equal(fixed[0].camera.rotation, fixed[1].camera.rotation)
    assert np.abs(fixed[0].albedo - fixed[1].albedo).max() > 0.01, "colours differ all the same"


def test_films_are_the_same_by_any_number_of_processes_and_taken_up_again(
    filmed: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(filmed, tmp_path / "copied")) / "bodies"
    names = (copied / "train.lst").read_text().split()
    written = {file.relative_to(copied): file.read_bytes() for file in copied.rglob("*.jpg")}
    assert len(written) == 10 * FRAMES * VIEWS
    assert min(file.name for file in written) == "00000000.jpg"
    shutil.rmtree(copied / names[0])
    (copied / names[1]).rename(copied / f".{names[1]}.part")
    (copied / f".{names[1]}.part" / "img" / "001" / "00000002.jpg").unlink()
    sizes = ("--people", 1, "--new-people", 0, "--frames", FRAMES, "--points", 64, "--workers", 2)
    run("bodies", copied.parent, *sizes, "--images", VIEWS, "--image-size", SIZE)
    assert {file.relative_to(copied): file.read_bytes() for file in copied.rglob("*.jpg")} == written


def test_registered_meshes_are_filmed_too(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(2)
    for frame in range(2):
        folder = tmp_path / "meshes" / "ball"
        folder.mkdir(parents=True, exist_ok=True)
        moved = ball.copy().apply_translation([3.0 * frame, 0, 0])
        moved.export(folder / f"{frame:05d}.obj")
    run(
        *("build", tmp_path / "meshes", tmp_path / "data", "--points", 10, "--workers", 1),
        *("--images", 2, "--image-size", 40),
    )
    views = tmp_path / "data" / "D-FAUST" / "ball" / "img"
    assert sorted(str(file.relative_to(views)) for file in views.rglob("*.jpg")) == [
        "000/00000000.jpg", "000/00000001.jpg", "001/00000000.jpg", "001/00000001.jpg",
    ]  # fmt: skip
    first, second = (np.asarray(Image.open(views / "000" / f"{k:08d}.jpg")).astype(int) for k in (0, 1))
    changed = np.abs(first - second).max(axis=2) > 30
    assert changed[:, :20].sum() > 20
    assert changed[:, 20:].sum() > 20, "from one side to the other"


# Drawn while training


def drawn(split: Any = "train", parts: str = "joint", **data: Any) -> BodiesDataset:
    sizes = {"n_training_points": 50, "n_training_pcl_points": 20, "img_size": 32, "length_sequence": 4}
    values = {
        "data": {"dataset": "bodies", **sizes, **data},
        "training": {"parts": parts, "n_eval_points": 40},
    }
    dataset = build_dataset(load_config("img/oflow_w_correspond", values), split)
    assert isinstance(dataset, BodiesDataset)
    return dataset


def test_drawn_bodies_are_filmed_from_anywhere_in_training() -> None:
    items = [drawn().sample((0, 0, row)) for row in range(3)]
    for item in items:
        assert (item["inputs"].shape, item["inputs"].dtype) == ((4, 3, 32, 32), np.dtype(np.float32))
        assert 0 <= item["inputs"].min() < 0.4 < item["inputs"].max() <= 1
        assert item["points"].shape == (50, 3)
        assert item["pointcloud"].shape == (4, 20, 3)
    np.testing.assert_array_equal(drawn().sample((0, 0, 1))["inputs"], items[1]["inputs"])
    assert np.abs(items[0]["inputs"] - items[1]["inputs"]).max() > 0.2
    cropped = drawn(img_augment=True).sample((0, 0, 1))["inputs"]
    assert cropped.shape == items[1]["inputs"].shape
    assert np.abs(cropped - items[1]["inputs"]).max() > 0.1


def test_the_shape_half_sees_the_image_that_joint_training_sees() -> None:
    half, joint = drawn(parts="shape").sample((4, 4)), drawn().sample((4, 4))
    assert half["inputs"].shape == (1, 3, 32, 32)
    np.testing.assert_array_equal(half["inputs"][0], joint["inputs"][0])


def test_held_out_bodies_are_filmed_by_the_fixed_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = []

    def watched(vertices: NDArray[Any], faces: NDArray[Any], view: View, size: int) -> Pixels:
        cameras.append(view.camera)
        return render(vertices, faces, view, size)

    monkeypatch.setattr("worker.data.bodies_dataset.render", watched)
    dataset = drawn("val", img_augment=True)
    item = dataset[2]
    assert item["inputs"].shape == (4, 3, 32, 32)
    np.testing.assert_array_equal(item["inputs"], dataset[2]["inputs"])
    assert item["points"].shape == (4, 40, 3)
    fixed = Camera.framing(np.eye(3), *FIXED_VIEW).rotation
    assert len(cameras) == 8
    for camera in cameras:
        np.testing.assert_allclose(camera.rotation, fixed)
    cameras.clear()
    for row in range(3):
        drawn().sample((0, 0, row))
    assert len({camera.rotation.tobytes() for camera in cameras}) == 3, "one a window"
