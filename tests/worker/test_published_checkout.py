"""A checkout of the published code, in small: its configs, data and checkpoint, worked on in place.

The YAML has the published keys and values, written anew; the networks are narrow. The checkpoint has the
published order of parameters, and Adam's state in that order.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from model.checkpoints import read_checkpoint
from model.config.schema import load_config
from model.methods import build_model
from worker.commands.cli import app

STATE_DICTS = Path(__file__).parents[1] / "data" / "state_dicts"
ORDER = list(json.loads((STATE_DICTS / "pointcloud_oflow.json").read_text()))

# configs/default.yaml: every published key with its value.
DEFAULT = """
method: oflow
data: {path: data/Humans, dataset: Humans, input_type: pcl_seq, classes: ['D-FAUST'], train_split: train,
  val_split: val, test_split: test, dim: 3, n_training_points: 512, points_unpackbits: true,
  n_training_pcl_points: 100, input_pointcloud_n: 300, input_pointcloud_noise: 0.001,
  input_pointcloud_corresponding: true, n_views: 24, img_size: 224, img_with_camera: false,
  img_augment: false, length_sequence: 17, offset_sequence: 15, n_files_per_sequence: -1,
  points_file: points.npz, mesh_seq_folder: mesh_seq, points_iou_seq_folder: points_seq,
  pointcloud_seq_folder: pcl_seq, img_seq_folder: img}
model: {encoder: pointnet_resnet, encoder_temporal: pointnet_resnet, decoder: cbatchnorm,
  velocity_field: concat, encoder_latent: null, encoder_latent_temporal: null, decoder_kwargs: {},
  encoder_kwargs: {}, encoder_latent_kwargs: {}, encoder_temporal_kwargs: {}, velocity_field_kwargs: {},
  encoder_latent_temporal_kwargs: {}, learn_embedding: false, ode_solver: dopri5, ode_step_size: null,
  use_adjoint: true, rtol: 0.001, atol: 0.00001, vae_beta: 0.0001, loss_corr: false, loss_corr_bw: false,
  loss_recon: true, initialize_from: null, initialization_file_name: model_best.pt, c_dim: 512, z_dim: 0,
  use_camera: False}
training: {out_dir: out/00, model_selection_metric: iou, model_selection_mode: maximize, n_eval_points: 5000,
  batch_size: 16, batch_size_vis: 1, batch_size_val: 1, print_every: 5, visualize_every: 999999999,
  checkpoint_every: 200, validate_every: 2000, backup_every: 100000, eval_sample: true, learning_rate: 0.0001}
test: {threshold: 0.3, eval_mesh: true, eval_pointcloud: false, project_to_final_mesh: false,
  eval_mesh_correspondences: true, eval_mesh_iou: true, eval_pointcloud_correspondences: true,
  eval_only_end_time_steps: false, model_file: model_best.pt}
generation: {generate_pointcloud: false, generate_mesh: true, resolution_0: 32, upsampling_steps: 2,
  refinement_step: 0, simplify_nfaces: null, padding: 0.1, vis_n_outputs: 20, n_time_steps: 17,
  mesh_color: true, interpolate: false, correspondence: false, only_end_time_points: false, fix_z: false,
  fix_zt: False, shuffle_generation: true, rand_seed: 12345, batch_size: 1000000, generation_dir: generation,
  use_sampling: false, copy_input: false}
"""

# configs/pointcloud/oflow.yaml, but narrow, short and coarse.
OFLOW = """
method: oflow
data: {offset_sequence: 0, input_pointcloud_n: 60, n_training_points: 64, n_files_per_sequence: 18}
model:
  encoder_kwargs: {hidden_dim: 8}
  encoder_temporal_kwargs: {hidden_dim: 8}
  velocity_field_kwargs: {hidden_size: 8}
  decoder_kwargs: {hidden_size: 8}
  c_dim: 8
training: {out_dir: out/pointcloud/oflow, n_eval_points: 100, batch_size: 2, visualize_every: -1,
  backup_every: -1}
generation: {resolution_0: 16, upsampling_steps: 0, vis_n_outputs: null}
test: {eval_mesh_correspondences: true}
"""


@pytest.fixture(scope="module")
def checkout(tiny_humans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("occupancy_flow")
    (root / "configs" / "pointcloud").mkdir(parents=True)
    (root / "configs" / "default.yaml").write_text(DEFAULT)
    (root / "configs" / "pointcloud" / "oflow.yaml").write_text(OFLOW)
    shutil.copytree(tiny_humans, root / "data" / "Humans")
    return root


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def write_checkpoint(root: Path) -> dict[str, torch.Tensor]:
    """`out/pointcloud/oflow/model.pt` after 7 steps, as the published code writes it."""
    torch.manual_seed(1)
    net: Any = build_model(load_config(root / "configs/pointcloud/oflow.yaml"))
    with torch.no_grad():  # an octahedron, so that there is a surface before anything is learnt
        for parameter in net.decoder.parameters():
            parameter.zero_()
        net.vector_field.fc_out.weight.zero_()
        net.vector_field.fc_out.bias.zero_()
        net.decoder.fc_p.weight[:6, :, 0] = torch.cat([torch.eye(3), -torch.eye(3)])
        net.decoder.bn.conv_gamma.bias.fill_(1)
        net.decoder.fc_out.weight[0, :6, 0] = -20
        net.decoder.fc_out.bias.fill_(5)
    own = net.state_dict()
    parameters = dict(net.named_parameters())
    names = [name for name in ORDER if name in parameters]
    moments = {
        number: {
            "step": 7,
            "exp_avg": torch.full_like(own[name], 1e-3 * number),
            "exp_avg_sq": torch.full_like(own[name], 1e-2),
        }
        for number, name in enumerate(names)
    }
    group = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
    content = {
        "epoch_it": 0,
        "it": 7,
        "loss_val_best": np.float64(-np.inf),
        "model": {name: own[name] for name in ORDER},
        "optimizer": {"state": moments, "param_groups": [group | {"params": list(range(len(names)))}]},
    }
    folder = root / "out" / "pointcloud" / "oflow"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / "model.pt")
    torch.save(content, folder / "model_best.pt")
    return {name: own[name].clone() for name in ORDER}


def test_every_published_key_is_in_the_bundled_defaults_with_its_value(checkout: Path) -> None:
    published, own = yaml.safe_load(DEFAULT), load_config("training/smoke").model_dump()
    bundled = yaml.safe_load((Path(__file__).parents[2] / "configs" / "default.yaml").read_text())
    for section, values in published.items():
        if section == "method":
            continue
        assert values.keys() <= own[section].keys()
        for key, value in values.items():
            assert bundled[section][key] == value, f"{section}.{key}"


def test_from_their_folder_and_checkpoint_to_their_tables(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed, trained, generated and evaluated by today's commands, with the flags of the old ones."""
    monkeypatch.chdir(checkout)
    config, out = "configs/pointcloud/oflow.yaml", checkout / "out" / "pointcloud" / "oflow"
    before = write_checkpoint(checkout)
    quick = ("training.max_iterations=9", "training.validate_every=0", "training.num_workers=0")
    told = run("train", config, "--no-cuda", *quick, "training.print_every=1")
    assert "goes on at step 7" in told
    assert "] it=008, loss=" in told
    state = read_checkpoint(out / "model.pt")
    assert state["it"] == 9
    assert list(state["model"]) == ORDER
    moved = {name: float((state["model"][name] - value).abs().max()) for name, value in before.items()}
    assert 0 < max(moved[name] for name in moved if name.endswith("weight")) < 1e-2, "two small steps"

    run("generate", config, "--no-cuda", "--limit", 1)
    meshes = sorted((out / "generation" / "meshes" / "D-FAUST").rglob("*.off"))
    assert len(meshes) == 17
    assert meshes[0].name.endswith("_0001.off")
    assert not (out / "generation" / "vis").exists()
    seconds = pd.read_pickle(out / "generation" / "time_generation.pkl")
    assert seconds.index.tolist() == ["n/a"]
    assert {"mesh", "time (encode inputs)", "time (eval points)", "time (marching cubes)"} <= set(seconds)

    run("evaluate", config, "--no-cuda", "--limit", 1, "--workers", 1)
    row = pd.read_pickle(out / "generation" / "eval_meshes_full.pkl").iloc[0]
    assert (row["class id"], row["class name"]) == ("D-FAUST", "n/a")
    assert 0 < row["iou 0 (mesh)"] < 1
    assert 0 < row["l2 16 (mesh)"] < 1
    run("evaluate", config, "--eval_input", "--limit", 1, "--workers", 1)
    assert (out / "generation" / "eval_input.csv").exists()
