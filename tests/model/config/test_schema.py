"""Configs: published values, inheritance, and refusals that name the key."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model.config.files import BUNDLE, config_names
from model.config.schema import load_config
from model.errors import ConfigError
from model.methods import build_model

CONFIGS = BUNDLE / "configs"


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_published_values() -> None:
    config = load_config("pointcloud/oflow")
    assert (config.model.c_dim, config.model.encoder_kwargs) == (128, {"hidden_dim": 128})
    assert (config.model.rtol, config.model.atol, config.model.use_adjoint) == (1e-3, 1e-5, True)
    assert (config.data.length_sequence, config.data.input_pointcloud_n) == (17, 300)
    assert (config.training.n_eval_points, config.training.learning_rate) == (10000, 1e-4)
    assert (config.test.threshold, config.generation.padding) == (0.3, 0.1)
    wide = load_config("pointcloud/oflow_w_correspond")
    assert (wide.model.c_dim, wide.model.loss_corr, wide.training.n_eval_points) == (512, True, 5000)


@pytest.mark.parametrize("name", config_names())
def test_every_shipped_config_builds_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for way in (name, CONFIGS / f"{name}.yaml", f"configs/{name}.yaml"):
        config = load_config(way)
        assert config.name == name
    assert sum(parameter.numel() for parameter in build_model(config).parameters()) > 1e5


PUBLISHED = {
    "pointcloud/onet4d": "method=onet4d generation.padding=0.5 test.eval_mesh_correspondences=False",
    "pointcloud/psgn4d": "method=psgn4d model.decoder=simple training.model_selection_metric=chamfer "
    "training.model_selection_mode=minimize generation.generate_mesh=False model.loss_corr=False",
    "pointcloud/psgn4d_w_correspond": "model.loss_corr=True generation.generate_pointcloud=True",
    "interpolation/oflow": "data.input_type=end_pointclouds data.input_pointcloud_n=10000 model.decoder=None "
    "data.length_sequence=30 data.input_pointcloud_noise=0.0 model.encoder_temporal=pointnet_2stream "
    "model.encoder=None model.loss_corr=True model.loss_corr_bw=True model.loss_recon=False "
    "training.batch_size=8 training.model_selection_metric=l2 generation.n_time_steps=30 "
    "generation.interpolate=True",
    "shape_matching/oflow": "data.input_pointcloud_corresponding=False data.length_sequence=17 "
    "model.loss_corr_bw=False generation.correspondence=True generation.only_end_time_points=True "
    "test.project_to_final_mesh=True test.eval_only_end_time_steps=True",
    "generative/oflow": "data.input_pointcloud_n=4000 data.train_split=train_generative model.c_dim=0 "
    "model.z_dim=128 model.encoder_latent=pointnet model.encoder_latent_temporal=pointnet "
    "model.decoder=simple model.loss_corr=True generation.use_sampling=True generation.fix_z=True",
    "representation_power/oflow": "data.input_type=None data.train_split=overfit model.c_dim=0 "
    "data.length_sequence=50 data.n_files_per_sequence=50 generation.n_time_steps=50",
    "img/oflow": "data.input_type=img_seq model.encoder=resnet18 model.encoder_temporal=conv_3D "
    "model.c_dim=256",
    "img/psgn4d": "method=psgn4d model.encoder=conv_3D model.decoder=simple",
    "demo": "data.classes=['Demo'] data.test_split=None data.offset_sequence=0 model.c_dim=512",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_values_are_the_published_ones(name: str) -> None:
    values = load_config(name).model_dump()
    for setting in PUBLISHED[name].split():
        key, _, wanted = setting.partition("=")
        found = values
        for part in key.split("."):
            found = found[part]
        assert str(found) == wanted, key


def test_bodies_inherits() -> None:
    config = load_config("bodies")
    assert config.test.threshold == 0.5
    assert config.model == load_config("pointcloud/oflow").model


def test_sections_merge_file_over_parent_over_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "base.yaml", "model: {c_dim: 7, encoder_kwargs: {hidden_dim: 32, dim: 3}}")
    own = write(tmp_path / "own.yaml", "inherit_from: base.yaml\nmodel: {encoder_kwargs: {hidden_dim: 64}}")
    config = load_config(own, {"model": {"c_dim": 9}, "data": {"path": "elsewhere"}})
    assert config.model.encoder_kwargs == {"hidden_dim": 64, "dim": 3}
    assert (config.model.c_dim, config.data.path, config.model.z_dim) == (9, "elsewhere", 0)
    assert config.name == "own"


def test_where_parents_are_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, here = tmp_path / "project", tmp_path / "here"
    write(project / "configs/base.yaml", "model: {c_dim: 5}")
    own = write(project / "configs/deep/own.yaml", "inherit_from: configs/base.yaml")
    here.mkdir()
    monkeypatch.chdir(here)
    config = load_config(own)  # beside its own configs folder, with the default that comes with the package
    assert (config.model.c_dim, config.name) == (5, "deep/own")
    stray = write(here / "configs/default.yaml", "nothing: of ours")
    assert load_config(own).model.c_dim == 5  # nobody named that file
    stray.unlink()
    write(here / "configs/base.yaml", "model: {c_dim: 6}")
    assert load_config(own).model.c_dim == 6  # what is named is looked for in the working folder first


def test_circle_and_missing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.yaml", "inherit_from: b.yaml")
    write(tmp_path / "b.yaml", "inherit_from: a.yaml")
    with pytest.raises(
        ConfigError, match=r"circular inheritance of configs: .*a\.yaml → .*b\.yaml → .*a\.yaml"
    ):
        load_config("a.yaml")
    orphan = write(tmp_path / "c.yaml", "inherit_from: none.yaml")
    with pytest.raises(ConfigError, match=r"c\.yaml: inherit_from: no file or config none\.yaml in "):
        load_config(orphan)
    with pytest.raises(ConfigError, match=r"no config 'bodys': .*bodies, .*pointcloud/oflow"):
        load_config("bodys")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model": {"c_dims": 3}}, r"unknown key model\.c_dims \(did you mean model\.c_dim\?\)"),
        ({"model": {"padding": 1.0}}, r"unknown key model\.padding \(did you mean generation\.padding\?\)"),
        ({"threshold": 0.5}, r"unknown key threshold \(did you mean test\.threshold\?\)"),
        ({"modell": {}}, r"unknown key modell \(did you mean model\?\)"),
        ({"model": {"zzz": 1}}, r"unknown key model\.zzz$"),
        ({"model": {"c_dim": "128"}}, r"model\.c_dim: found '128', wanted a whole number"),
        ({"data": {"n_views": 2.5}}, r"data\.n_views: found 2\.5, wanted a whole number"),
        ({"test": {"threshold": True}}, r"test\.threshold: found true, wanted a number"),
        ({"test": {"threshold": 1.5}}, r"test\.threshold: found 1\.5, wanted less than 1"),
        ({"training": {"n_val_items": 0}}, r"training\.n_val_items: found 0, wanted more than 0"),
        ({"training": {"betas": [0.5] * 3}}, r"training\.betas: found \[.*\], wanted 2 or fewer values"),
        ({"data": {"solids": {"cloud_points": []}}}, r"cloud_points: found \[\], wanted 1 or more values"),
        ({"data": {"solids": {"cloud_points": [3]}}}, r"cloud_points\.0: found 3, wanted 16 or more"),
        ({"model": {"loss_corr": 1}}, r"model\.loss_corr: found 1, wanted true or false"),
        ({"data": {"classes": ["A", 1]}}, r"data\.classes\.1: found 1, wanted text"),
        ({"model": None}, r"model: found null, wanted a section of keys"),
        ({"model": {"ode_solver": "adams"}}, r"model\.ode_solver: found adams, wanted 'dopri5', "),
        ({"model": {"ode_solver": "rk4"}}, r"model\.ode_step_size is null; wanted a step size"),
        ({"model": {"rtol": float("nan")}}, r"model\.rtol: found \.nan, wanted a finite number"),
        ({"method": "oflo"}, r"method: found oflo, wanted 'oflow', 'local_oflow', 'onet4d' or 'psgn4d'"),
    ],
)
def test_refusals_name_the_key(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config("pointcloud/oflow", overrides)
    assert "pydantic" not in str(caught.value)


def test_all_faults_at_once() -> None:
    with pytest.raises(ConfigError, match=r"data\.dim: .*model\.c_dims"):
        load_config("pointcloud/oflow", {"data": {"dim": 0}, "model": {"c_dims": 1}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {c_dim: 3", r"cannot be read as YAML"),
        ("- a\n- b", r"found list, wanted sections of keys"),
        ("model: {c_dim: 3, c_dim: 4}", r"the key c_dim is given twice"),
        ("a: !!python/object/apply:os.getcwd []", r"cannot be read as YAML"),
        ("inherit_from: 3", r"inherit_from: found 3"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path / "a.yaml", text))


def test_the_bundled_defaults_lie_beneath_those_of_another_checkout(tmp_path: Path) -> None:
    """The published default.yaml knows nothing of the keys of this project."""
    write(tmp_path / "configs/default.yaml", "data: {n_views: 4}\ntraining: {batch_size: 3}")
    config = load_config(write(tmp_path / "configs/deep/own.yaml", "training: {out_dir: out/own}"))
    assert (config.data.n_views, config.training.batch_size, config.training.out_dir) == (4, 3, "out/own")
    assert config.data.bodies == load_config("pointcloud/oflow").data.bodies
    assert config.training.parts == "joint"


def test_a_parent_may_be_named_as_on_the_command_line(tmp_path: Path) -> None:
    own = write(tmp_path / "own.yaml", "inherit_from: pointcloud/psgn4d")
    assert load_config(own).method == "psgn4d"
    write(tmp_path / "configs/mine/base.yaml", "model: {c_dim: 5}")
    below = write(tmp_path / "configs/own.yaml", "inherit_from: mine/base")
    assert load_config(below).model.c_dim == 5


def test_published_ways_to_say_never(tmp_path: Path) -> None:
    intervals = ["print", "validate", "visualize", "checkpoint", "backup"]
    text = "generation: {vis_n_outputs: null}\ntraining: {" + ", ".join(f"{k}_every: -1" for k in intervals)
    config = load_config(write(tmp_path / "a.yaml", text + "}"))
    assert config.generation.vis_n_outputs is None
    assert {getattr(config.training, f"{key}_every") for key in intervals} == {-1}


def test_exponents_without_a_point_are_numbers(tmp_path: Path) -> None:
    assert (
        load_config(write(tmp_path / "a.yaml", "training: {learning_rate: 1e-3}")).training.learning_rate
        == 1e-3
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"model": {"encoder": "resnet50"}},
            r"model\.encoder: resnet50 is not available; available: pointnet_resnet, ",
        ),
        ({"model": {"encoder_temporal": "conv_2D"}}, r"model\.encoder_temporal: conv_2D is not available"),
        ({"model": {"encoder_latent": "vae"}}, r"model\.encoder_latent: vae is not available"),
        ({"model": {"z_dim": 3}}, r"model\.z_dim is 3 and model\.encoder_latent is null"),
        ({"model": {"velocity_field": None}}, r"model\.velocity_field is null"),
        (
            {"model": {"encoder_kwargs": {"hidden": 3}}},
            r"encoder_kwargs\.hidden: pointnet_resnet has no such option; it has c_dim, dim, hidden_dim",
        ),
        ({"model": {"encoder_kwargs": {"hidden_dim": "3"}}}, r"hidden_dim: found '3', wanted int"),
    ],
)
def test_parts_that_are_not_there(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(load_config("pointcloud/oflow", overrides))


def test_reading_a_config_does_not_load_torch() -> None:
    code = "import sys, model; model.load_config('bodies'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pretrained_models_do_not_write_into_the_folders_of_trained_ones() -> None:
    folders = [load_config(name).training.out_dir for name in config_names()]
    assert sorted(folders) == sorted(set(folders))
