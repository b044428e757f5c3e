"""Representation power: a sequence kept in the weights, without any input."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from model import Config, build_model, load_config
from model.checkpoints import save_checkpoint
from model.errors import ConfigError
from model.methods import METHODS
from model.networks.occupancy_flow import OccupancyFlow
from tests.worker.small_bodies import write_small_bodies
from worker.commands.cli import app
from worker.data import build_dataset
from worker.evaluation.validation import validate
from worker.tasks.loaded import LoadedModel, load_model
from worker.tasks.registry import load_task, task_name
from worker.tasks.representation_power import RepresentationPower
from worker.training.stopping import Stop
from worker.training.trainer import Trainer

FRAMES = 12
SEQUENCE = "90001_jumping_jacks"


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences, of which the split `overfit` is one: to read only."""
    folder = tmp_path_factory.mktemp("bodies")
    write_small_bodies(folder, ("hips", "jumping_jacks"), FRAMES)
    (folder / "bodies" / "overfit.lst").write_text(f"{SEQUENCE}\n")
    return folder


def config_file(data: Path, folder: Path) -> Path:
    """A net 32 wide for one window of all frames; its run folder is `folder`/run."""
    sections: dict[str, Any] = {
        "inherit_from": "configs/representation_power/oflow.yaml",
        "data": {
            "path": str(data),
            "classes": ["bodies"],
            "offset_sequence": 0,
            "n_files_per_sequence": FRAMES,
            "length_sequence": FRAMES,
            "n_training_points": 1000,
            "n_training_pcl_points": 32,
        },
        "model": {
            "loss_corr": True,
            "decoder_kwargs": {"hidden_size": 32},
            "velocity_field_kwargs": {"hidden_size": 32},
        },
        "training": {
            "out_dir": str(folder / "run"),
            "batch_size": 2,
            "learning_rate": 0.01,
            "schedule": "cosine",
            "max_iterations": 250,
            "solver_steps": 1,
            "n_eval_points": 1000,
            "validate_every": 250,
            "num_workers": 0,
        },
        "generation": {"resolution_0": 32, "upsampling_steps": 0, "n_time_steps": FRAMES},
    }
    file = folder / "overfit.yaml"
    file.write_text(yaml.safe_dump(sections), encoding="utf-8")
    return file


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_published_config_is_one_window_without_inputs(bodies: Path) -> None:
    config = load_config("representation_power/oflow")
    assert task_name(config) == "representation power"
    net = build_model(config)
    assert {name.split(".")[0] for name in net.state_dict()} == {"decoder", "vector_field"}
    assert config.data.n_files_per_sequence == config.data.length_sequence == 50
    short = {"path": str(bodies), "classes": ["bodies"], "offset_sequence": 0, "length_sequence": FRAMES}
    dataset = build_dataset(load_config("representation_power/oflow", {"data": short}), "train")
    assert len(dataset) == 1
    assert "inputs" not in dataset[0]


def test_one_sequence_is_learned_generated_and_measured(bodies: Path, tmp_path: Path) -> None:
    """From an overlap of nothing, the mesh of the trained sequence comes to overlap with the body in all
    frames, and its vertices to stay with their particles.
    """
    file = config_file(bodies, tmp_path)
    config = load_config(file)
    trainer = Trainer(config)
    before = validate(trainer.net, trainer.val_source, config, "cpu")
    assert trainer.run(Stop(None))
    after = validate(trainer.net, trainer.val_source, config, "cpu")
    truth = build_dataset(trainer.config, "val")[0]["points_mesh"]  # [T, N, 3]
    standing = np.linalg.norm(truth - truth[:1], axis=-1).mean()
    assert before["iou"] < 0.05
    assert after["iou"] > 0.3
    assert after["l2"] < 0.5 * standing < before["l2"]

    assert "1 windows generated" in run("generate", file)
    meshes = tmp_path / "run/generation/meshes/bodies" / SEQUENCE / "00000"
    assert len(list(meshes.glob("*.off"))) == FRAMES
    assert (meshes / f"{SEQUENCE}_0000.glb").is_file()
    run("evaluate", file, "--workers", 1)
    table = pd.read_csv(tmp_path / "run" / "generation" / "eval_meshes.csv")
    measured = [float(table[f"iou {frame} (mesh)"].iloc[0]) for frame in (0, FRAMES - 1)]
    assert min(measured) > 0.2
    assert "1 kept" in run("generate", file)


def test_sequences_told_apart_by_number_give_meshes_of_their_own(bodies: Path, tmp_path: Path) -> None:
    """`data.input_type: idx`: an embedding is the only input."""
    numbers = {"encoder": "idx", "encoder_kwargs": {"num_embeddings": 2}, "c_dim": 4}
    numbers |= {"encoder_temporal": "idx", "encoder_temporal_kwargs": {"num_embeddings": 2}}
    config = load_config(
        config_file(bodies, tmp_path),
        {"model": numbers, "data": {"input_type": "idx", "test_split": None}, "generation": {"padding": 0.0}},
    )
    torch.manual_seed(0)
    net = build_model(config).eval()
    assert isinstance(net, OccupancyFlow)
    codes, _ = net.encode_inputs(torch.tensor([0, 1]))
    # Where either has some of the box and not all, there is a surface; untrained, both say much the same.
    assert net.decoder is not None
    with torch.no_grad():
        net.decoder.fc_p.weight *= 10
    logits = net.decode(torch.rand(2, 1000, 3) - 0.5, None, codes)
    test = config.test.model_copy(update={"threshold": logits.sigmoid().median().item()})
    task = RepresentationPower(LoadedModel(config.model_copy(update={"test": test}), net, "", "cpu"))
    dataset = build_dataset(config, "test")
    first, second, again = (task(dataset[index]).animation for index in (0, 1, 0))
    assert first is not None
    assert second is not None
    assert again is not None
    assert np.array_equal(first.vertices, again.vertices)
    assert first.vertices.shape != second.vertices.shape or (first.vertices != second.vertices).any()
    assert (first.vertices[0] != first.vertices[-1]).any()


def test_validation_of_a_batch_without_inputs_has_all_metrics(bodies: Path, tmp_path: Path) -> None:
    config = load_config(config_file(bodies, tmp_path))
    trainer = Trainer(config)
    item = build_dataset(trainer.config, "val")[0]
    batch = {name: torch.as_tensor(value)[None] for name, value in item.items()}
    with torch.no_grad():
        scores = METHODS[config.method].score(trainer.net.eval(), batch, config)
    assert {"iou", "iou_t0", "rec_error", "rec_error_t0", "l2"} <= set(scores)
    assert all(len(values) == 1 for values in scores.values())


def test_a_model_that_reads_points_is_no_such_model(tmp_path: Path) -> None:
    config = load_config("representation_power/oflow", {"data": {"input_type": "img_seq"}})
    with pytest.raises(ConfigError, match="wanted null or idx"):
        RepresentationPower.check(config)
    undecoded: Config = load_config("representation_power/oflow", {"model": {"decoder": None}})
    with pytest.raises(ConfigError, match=r"model\.decoder None"):
        load_task(undecoded, _untrained(undecoded, tmp_path))


def _untrained(config: Config, folder: Path) -> Path:
    save_checkpoint(folder / "untrained.pt", {"model": build_model(config).state_dict()})
    return folder / "untrained.pt"


def test_an_embedding_has_the_size_of_its_data(bodies: Path, tmp_path: Path) -> None:
    """Training takes it from the data set, and loading from the checkpoint."""
    numbers = {"encoder": "idx", "encoder_temporal": "idx", "c_dim": 4}
    data = {"input_type": "idx", "train_split": None, "val_split": None, "length_sequence": 4}
    training = {"max_iterations": 1, "validate_every": 0, "batch_size": 1}
    overrides = {"model": numbers, "data": data, "training": training}
    config = load_config(config_file(bodies, tmp_path), overrides)
    trainer = Trainer(config)
    count = len(build_dataset(config, "train"))
    assert count > 2
    assert trainer.net.get_parameter("encoder.weight").shape == (count, 4)
    assert trainer.run(Stop())
    net = load_model(config, trainer.folder.last).net
    assert net.get_parameter("encoder_temporal.weight").shape == (count, 4)
