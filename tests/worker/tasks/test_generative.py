"""The generative model: draws from the prior, latent spaces, what is done with their codes; training."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import trimesh
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from model import Config, build_model, load_config
from model.checkpoints import save_checkpoint
from model.errors import ConfigError, EmptySurfaceError
from tests.worker.octahedra import FRAMES, RADIUS, Z_DIM, octahedra
from tests.worker.small_bodies import write_small_bodies
from worker.__main__ import main
from worker.commands.cli import app
from worker.commands.train import parse_overrides
from worker.data import DataError, build_dataset
from worker.data.windows import Window
from worker.evaluation.mesh_files import read_off
from worker.evaluation.validation import validate
from worker.tasks.code_interpolation import interpolate_codes
from worker.tasks.generative import Prior
from worker.tasks.latent_space import CODES, LatentSpace, encode, open_windows
from worker.tasks.loaded import LoadedModel, load_model
from worker.tasks.motion_transfer import read_surface, transfer_motion
from worker.tasks.registry import load_task
from worker.training.stopping import Stop
from worker.training.trainer import Trainer

LENGTH = 7  # frames of a sequence: three windows
WINDOWS = [("bodies", f"90001_{name}", start) for name in ("hips", "punching") for start in range(3)]


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of three windows each, to read only."""
    folder = tmp_path_factory.mktemp("bodies")
    write_small_bodies(folder, ("hips", "punching"), LENGTH, points=500)
    return folder


@pytest.fixture
def file(bodies: Path, tmp_path: Path) -> Path:
    return octahedra(tmp_path, bodies)


@pytest.fixture
def model(file: Path) -> LoadedModel:
    return load_model(load_config(file))


@pytest.fixture
def space(model: LoadedModel) -> LatentSpace:
    """Codes that lie far apart."""
    codes = {name: np.zeros((3, Z_DIM), np.float32) for name in CODES}
    codes["loc_z"][:, 0] = 0.0, 1.0, -1.0
    codes["loc_z_t"][:, 0] = 0.1, 0.3, -0.2
    places = [("bodies", "50001_knees", 0), ("bodies", "50001_knees", 12), ("bodies", "50002_hips", 3)]
    windows = [Window(Path(category, name), start, FRAMES) for category, name, start in places]
    return LatentSpace(windows, codes, model.checkpoint_sha256)


@pytest.fixture
def octahedron(tmp_path: Path) -> Path:
    """A mesh as the model's own shapes, six metres wide, far from the origin."""
    hull = trimesh.convex.convex_hull(np.concatenate([np.eye(3), -np.eye(3)])).subdivide().subdivide()
    mesh = trimesh.Trimesh(3 * hull.vertices + [100, 0, -40], hull.faces, process=False)
    mesh.export(tmp_path / "octahedron.obj")
    return tmp_path / "octahedron.obj"


def run(*arguments: Any, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def size(vertices: NDArray[Any]) -> float:
    """|x| + |y| + |z| of an octahedron's surface, the mean."""
    return float(np.abs(vertices).sum(axis=-1).mean())


def frames_of(glb: Path) -> int:
    data = glb.read_bytes()
    head = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    return 1 + len(head["meshes"][0]["primitives"][0]["targets"])


# The prior


def test_a_number_of_a_seed_always_gives_the_same_codes(model: LoadedModel) -> None:
    codes = [Prior(_with(model, fix_z=False), seed=1).draw(number) for number in (0, 1, 0)]
    for first, other, again in zip(*codes, strict=True):  # of shape, then of motion
        assert (first == again).all()
        assert (first != other).all()
    assert (codes[0][0] != codes[0][1]).all(), "shape and motion are drawn apart"
    assert (codes[0][0] != Prior(_with(model, fix_z=False), seed=2).draw(0)[0]).all()


def test_draws_are_those_of_a_standard_normal(model: LoadedModel) -> None:
    prior = Prior(_with(model, fix_z=False), seed=0)
    values = np.concatenate([np.stack(prior.draw(number)).ravel() for number in range(400)])
    assert abs(values.mean()) < 0.1
    assert abs(values.std() - 1) < 0.1


@pytest.mark.parametrize(("fixed", "free"), [("fix_z", 1), ("fix_zt", 0)])
def test_one_draw_is_held_for_all(model: LoadedModel, fixed: str, free: int) -> None:
    prior = Prior(_with(model, **{"fix_z": False, "fix_zt": False, fixed: True}), seed=0)
    first, second = prior.draw(3), prior.draw(4)
    assert (first[1 - free] == second[1 - free]).all()
    assert (first[free] != second[free]).all()


def test_without_sampling_all_are_the_mean(model: LoadedModel) -> None:
    for code in Prior(_with(model, use_sampling=False), seed=0).draw(5):
        assert code.shape == (1, Z_DIM)
        assert (code == 0).all()


def test_every_window_is_given_the_shape_and_motion_of_its_draw(bodies: Path, tmp_path: Path) -> None:
    config = load_config(octahedra(tmp_path, bodies, fix_z=False))
    task, dataset = load_task(config), build_dataset(config, "test")
    prior = Prior(task.model, config.generation.rand_seed)
    for index in (0, 4):
        z, z_t = (float(code[0, 0]) for code in prior.draw(index))
        output = task(dataset[index])
        assert len(output.vertices) == FRAMES
        assert size(output.vertices[0]) == pytest.approx(RADIUS + z / 10, abs=0.005)
        moved = output.vertices[-1] - output.vertices[0]
        assert np.allclose(moved, [z_t, 0, 0], atol=1e-3)
        parts = {"time (eval points)", "time (marching cubes)"}
        assert set(output.seconds) == {"time (extract mesh)", "time (forward propagation)"} | parts


# The latent space


def test_codes_of_a_data_set_are_what_the_encoders_make_of_each_window(
    model: LoadedModel, tmp_path: Path
) -> None:
    dataset = build_dataset(model.config, "test")
    found = encode(model, dataset, range(len(dataset)))
    assert [(w.category, w.name, w.start) for w in found.windows] == WINDOWS
    inputs = np.stack([dataset[index]["inputs"] for index in range(len(dataset))])  # [K, T, N, 3]
    for name, frame, deviation in (("z", 0, 1 / 2), ("z_t", -1, 1 / 4)):
        assert np.allclose(found.codes[f"loc_{name}"][:, 0], inputs[:, frame, :, 0].max(axis=1), atol=1e-6)
        assert (found.codes[f"loc_{name}"][:, 1:] == 0).all()
        assert np.allclose(found.codes[f"scale_{name}"], deviation)
    own, published = found.save(tmp_path)
    again = LatentSpace.load(own, model)
    assert again.windows == [Window(Path(*w[:2]), w[2], FRAMES) for w in WINDOWS]
    table = pd.read_pickle(published)
    assert {"model", "start_idx", *CODES} <= set(table.columns)
    for name in CODES:
        assert np.array_equal(again.codes[name], found.codes[name])
        assert np.array_equal(np.stack(table[name].tolist()), found.codes[name])
    assert list(zip(table["category"], table["model"], table["start_idx"], strict=True)) == WINDOWS


def test_a_latent_encoder_of_occupancy_samples_gets_them(bodies: Path, tmp_path: Path) -> None:
    changes = {"encoder_latent": "simple", "encoder_latent_kwargs": {"dim": 3, "hidden_dim": 32}}
    file = octahedra(tmp_path, bodies)
    text = file.read_text().replace("encoder_latent_kwargs:\n    hidden_dim: 4", "encoder_latent_kwargs: {}")
    assert "encoder_latent_kwargs: {}" in text
    config = load_config(file, {"model": changes, "training": {"n_eval_points": 20}})
    found = encode(LoadedModel(config, build_model(config).eval(), "", "cpu"), open_windows(config), [0, 5])
    assert found.codes["loc_z"].shape == (2, Z_DIM)
    assert (found.codes["loc_z"][0] != found.codes["loc_z"][1]).any()


def test_windows_are_found_by_name_and_start(space: LatentSpace) -> None:
    assert [space.find(p) for p in ("50001_knees:0", "50001_knees:00012", "bodies/50002_hips:3")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("50001_kneees:0", "nearest: 50001_knees"),
        ("50001_knees:11", "nearest: 12, 0"),
        ("50001_knees", "wanted SEQ:START, such as 50001_knees:0"),
        ("50001_knees:first", "wanted SEQ:START"),
        ("others/50002_hips:3", "there is no sequence others/50002_hips"),
    ],
)
def test_an_unknown_window_is_refused_with_what_is_near(space: LatentSpace, place: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        space.find(place)


def test_a_name_in_two_classes_asks_which(space: LatentSpace) -> None:
    space.windows[1] = Window(Path("others", "50002_hips"), 3, FRAMES)
    with pytest.raises(DataError, match="bodies/50002_hips:3, others/50002_hips:3"):
        space.find("50002_hips:3")
    assert space.find("others/50002_hips:3") == 1


def test_a_latent_space_of_another_checkpoint_or_shape_is_refused(
    space: LatentSpace, model: LoadedModel, tmp_path: Path
) -> None:
    own, _ = space.save(tmp_path)
    other = replace(model, checkpoint_sha256="5" * 64)
    with pytest.raises(DataError, match="encoded by the checkpoint"):
        LatentSpace.load(own, other)
    arrays = dict(np.load(own))
    np.savez(own, **arrays | {"loc_z": arrays["loc_z"][:, :2]})
    with pytest.raises(DataError, match=r"wanted float32 \[3, 3\]"):
        LatentSpace.load(own, model)
    np.savez(own, **{name: arrays[name] for name in arrays if name != "loc_z_t"})
    with pytest.raises(DataError, match="holds no loc_z_t"):
        LatentSpace.load(own, model)


def test_a_pickle_in_place_of_arrays_is_not_opened(model: LoadedModel, tmp_path: Path) -> None:
    file = tmp_path / "latent_space.npz"
    np.savez(file, allow_pickle=True, model=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="cannot be read"):
        LatentSpace.load(file, model)
    with pytest.raises(DataError, match="run `worker encode"):
        LatentSpace.load(tmp_path / "none.npz", model)


# Codes between and beyond


def test_a_motion_is_interpolated_with_the_shape_held(model: LoadedModel, space: LatentSpace) -> None:
    made = list(interpolate_codes(model, space, (1, 2), "motion", 3))
    for meshes, pushed in zip(made, (0.3, 0.05, -0.2), strict=True):
        assert size(meshes.vertices[0]) == pytest.approx(RADIUS + 0.1, abs=0.005)
        assert np.allclose(meshes.vertices[-1] - meshes.vertices[0], [pushed, 0, 0], atol=1e-3)


def test_a_shape_is_interpolated_with_the_motion_held(model: LoadedModel, space: LatentSpace) -> None:
    made = list(interpolate_codes(model, space, (1, 2), "shape", 3))
    for meshes, wider in zip(made, (0.1, 0.0, -0.1), strict=True):
        assert size(meshes.vertices[0]) == pytest.approx(RADIUS + wider, abs=0.005)
        assert np.allclose(meshes.vertices[-1] - meshes.vertices[0], [0.3, 0, 0], atol=1e-3)


def test_a_motion_moves_a_mesh_in_its_own_units(
    model: LoadedModel, space: LatentSpace, octahedron: Path
) -> None:
    vertices, faces = read_surface(octahedron)
    done = transfer_motion(model, space, 2, (vertices, faces))
    assert np.array_equal(done.meshes.vertices[0], vertices)
    assert np.array_equal(done.meshes.faces, faces)
    for frame, time in enumerate(np.linspace(0, 1, FRAMES)):
        moved = done.meshes.vertices[frame] - vertices
        assert np.allclose(moved, [6 * -0.2 * time, 0, 0], atol=5e-3), "six metres are a side of the box"
    # In the box the mesh reaches 1/2, and the shape that the motion belongs to 0.2.
    assert 0.1 < done.apart < 0.3


# The commands


def test_encode_writes_both_files_and_the_picture(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "generation"
    assert "6 windows" in run("encode", file)
    assert sorted(path.name for path in folder.iterdir()) == ["latent_space.npz", "latent_space.pkl"]
    refusal = run("encode", file, "--tsne", code=2)
    assert "found 6 windows; t-SNE needs 10 or more" in refusal
    lengths = ("data.length_sequence=2", "model.encoder_latent_temporal_kwargs.dim=6")
    run("encode", file, "--tsne", *lengths, "--checkpoint", _shorter(file, lengths, tmp_path))
    before = (folder / "tsne.png").read_bytes()
    fewer = ("--tsne-max-n", 10, "--checkpoint", _shorter(file, lengths, tmp_path))
    run("encode", file, "--tsne", *lengths, *fewer)
    assert (folder / "tsne.png").read_bytes() != before
    picture = np.asarray(Image.open(folder / "tsne.png").convert("RGB"))
    colored = (np.ptp(picture.astype(int), axis=-1) > 40).any(axis=0)  # the dots: columns with a hue
    half = len(colored) // 2
    assert colored[:half].sum() > 20
    assert colored[half:].sum() > 20


def test_without_scikit_learn_encode_says_what_to_install(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    monkeypatch.delitem(sys.modules, "worker.tasks.tsne", raising=False)
    monkeypatch.setattr(sys, "argv", ["worker", "encode", str(file), "--tsne"])
    with pytest.raises(SystemExit):
        main()
    assert "needs sklearn" in capsys.readouterr().err.replace(".manifold", "")
    assert not (file.parent / "run" / "generation").exists(), "nothing was encoded before"


def test_sample_writes_animated_meshes(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "samples"
    assert "3 animated meshes" in run("sample", file, "-n", 3, "--seed", 7, "--out", out)
    names = sorted(path.name for path in out.iterdir())
    assert names == ["contact_sheet.png", *(f"sample_{number:04d}.glb" for number in range(3))]
    assert {frames_of(glb) for glb in out.glob("*.glb")} == {FRAMES}
    again = tmp_path / "again"
    run("sample", file, "-n", 1, "--seed", 7, "--out", again)
    assert (again / "sample_0000.glb").read_bytes() == (out / "sample_0000.glb").read_bytes()
    assert (out / "sample_0001.glb").read_bytes() != (out / "sample_0000.glb").read_bytes()


def test_samples_without_a_surface_are_told(file: Path, tmp_path: Path) -> None:
    told = run("sample", file, "-n", 2, "test.threshold=0.99999999", "--out", tmp_path / "out", code=2)
    assert "none of 2 samples has a surface" in told


def test_latent_interpolate_writes_a_mesh_a_step(file: Path, tmp_path: Path) -> None:
    ends = ("--from", "90001_hips:0", "--to", "90001_punching:2")
    assert "run `worker encode" in run("latent-interpolate", file, *ends, code=2)
    run("encode", file)
    for code, steps in (("motion", 3), ("motion", 2), ("shape", 2)):
        run("latent-interpolate", file, *ends, "--code", code, "--steps", steps)
        folder = tmp_path / "run/generation/latent_interpolation" / f"{code}_90001_hips_0_to_90001_punching_2"
        names = sorted(path.name for path in folder.iterdir())
        files = {f"{number:03d}.glb" for number in range(steps)} | {"contact_sheet.png"}
        frames = range(1, FRAMES + 1)
        assert set(names) == files | {f"{n:03d}_{frame:04d}.off" for n in range(steps) for frame in frames}
        assert {frames_of(glb) for glb in folder.glob("*.glb")} == {FRAMES}
    assert "nearest: 90001_hips" in run("latent-interpolate", file, "--from", "hips:0", *ends[2:], code=2)


def test_transfer_writes_the_moving_mesh(file: Path, octahedron: Path, tmp_path: Path) -> None:
    run("encode", file)
    told = run("transfer", file, "--motion", "90001_hips:1", "--shape", octahedron, "--out", tmp_path / "out")
    assert "doubtful: octahedron.obj" in told
    assert frames_of(tmp_path / "out" / "transfer.glb") == FRAMES
    meshes = [read_off(tmp_path / "out" / f"transfer_{frame:04d}.off") for frame in range(1, FRAMES + 1)]
    assert all(np.array_equal(faces, read_surface(octahedron)[1]) for _, faces in meshes)
    assert (tmp_path / "out" / "contact_sheet.png").is_file()
    cloud = tmp_path / "cloud.ply"
    trimesh.PointCloud(np.eye(3)).export(cloud)
    refusal = run("transfer", file, "--motion", "90001_hips:1", "--shape", cloud, code=2)
    assert "holds points alone" in refusal


def test_generate_and_evaluate_go_over_a_data_set(file: Path, tmp_path: Path) -> None:
    assert "2 windows generated" in run("generate", file, "--limit", 2)
    assert "2 kept" in run("generate", file, "--limit", 2)
    run("evaluate", file, "--limit", 2, "--workers", 1)
    table = pd.read_csv(tmp_path / "run" / "generation" / "eval_meshes.csv")
    assert 0 < float(table["iou (mesh)"].iloc[0]) < 0.5, "an octahedron about the middle of a body"


@pytest.mark.parametrize(
    "command",
    [
        ("encode",),
        ("sample",),
        ("latent-interpolate", "--from", "a:0", "--to", "b:0"),
        ("transfer", "--motion", "a:0", "--shape", __file__),
    ],
)
def test_a_model_without_latent_codes_is_refused_before_any_work(command: tuple[str, ...]) -> None:
    told = run(command[0], "pointcloud/oflow", *command[1:], code=2)
    assert "model.z_dim 0" in told
    assert "use generative/oflow" in told


def test_a_model_that_reads_inputs_too_is_sent_to_generate(file: Path) -> None:
    told = run("sample", file, "model.encoder=pointnet_resnet", "model.c_dim=4", code=2)
    assert "model.encoder is pointnet_resnet" in told
    assert "`worker generate`" in told
    with pytest.raises(ConfigError, match="no latent space"):
        load_task(load_config(file, {"model": {"decoder": None}}))


@pytest.mark.parametrize("parts", ["shape", "flow"])
def test_halves_of_a_model_with_latent_codes_cannot_be_trained(parts: str) -> None:
    with pytest.raises(ConfigError, match="latent encoders belong to neither half"):
        load_config("generative/oflow", {"training": {"parts": parts}})


def test_a_shape_without_a_surface_says_so(model: LoadedModel, space: LatentSpace) -> None:
    space.codes["loc_z"][0, 0] = -10
    strict = model.config.test.model_copy(update={"threshold": 0.9})
    config = model.config.model_copy(update={"test": strict})
    with pytest.raises(EmptySurfaceError):
        list(interpolate_codes(replace(model, config=config), space, (0, 1), "motion", 2))


# Training


def test_training_brings_shapes_and_motions_into_the_codes(tmp_path: Path) -> None:
    """Of two sequences, particles come to be carried nearer to where they go than if they stood still, and
    occupancy is told better than by how much of the box a body fills; before, both were far worse.
    """
    write_small_bodies(tmp_path, ("jumping_jacks", "one_leg_jump"), 17)
    config = learning(tmp_path)
    trainer = Trainer(config)
    items = [build_dataset(trainer.config, "val")[index] for index in range(2)]
    before = validate(trainer.net, trainer.val_source, config, "cpu")
    assert trainer.run(Stop(None))
    after = validate(trainer.net, trainer.val_source, config, "cpu")
    truth = np.stack([item["points_mesh"] for item in items])  # [K, T, N, 3]
    standing = np.linalg.norm(truth - truth[:, :1], axis=-1).mean()
    filled = np.stack([item["points.occ"] for item in items]).mean()
    guessing = -(filled * np.log(filled) + (1 - filled) * np.log(1 - filled))
    assert after["l2"] < 0.75 * standing < before["l2"]
    assert after["rec_error"] < guessing < before["rec_error"]


def learning(data: Path) -> Config:
    net = {"decoder_kwargs": {"hidden_size": 32}, "velocity_field_kwargs": {"hidden_size": 32}}
    encoders = {
        "encoder_latent_kwargs": {"hidden_dim": 16},
        "encoder_latent_temporal_kwargs": {"hidden_dim": 16, "dim": 51},
    }
    sections: dict[str, Any] = {
        "data": {
            "path": str(data),
            "classes": ["bodies"],
            "train_split": None,
            "val_split": None,
            "offset_sequence": 0,
            "input_pointcloud_n": 40,
            "n_training_points": 600,
            "n_training_pcl_points": 32,
        },
        "model": {"z_dim": 4, **net, **encoders},
        "training": {
            "out_dir": str(data / "run"),
            "batch_size": 4,
            "batch_size_val": 2,
            "learning_rate": 0.01,
            "schedule": "cosine",
            "max_iterations": 160,
            "solver_steps": 1,
            "n_eval_points": 1000,
            "validate_every": 0,
            "num_workers": 0,
            "eval_sample": False,
        },
    }
    return load_config("generative/oflow", sections)


def _with(model: LoadedModel, **generation: bool) -> LoadedModel:
    """The same model with other settings of generation."""
    changed = model.config.generation.model_copy(update=generation)
    return replace(model, config=model.config.model_copy(update={"generation": changed}))


def _shorter(file: Path, changes: tuple[str, ...], folder: Path) -> Path:
    """An untrained checkpoint of the config with these changes."""
    torch.manual_seed(0)
    net = build_model(load_config(file, parse_overrides(list(changes))))
    save_checkpoint(folder / "shorter.pt", {"model": net.state_dict()})
    return folder / "shorter.pt"
