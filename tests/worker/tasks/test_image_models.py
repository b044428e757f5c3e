"""Models of image sequences: trained shortly on films of bodies, from ImageNet's weights, and generated."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from typer.testing import CliRunner

from model import Config, build_model, load_config
from model.checkpoints import save_checkpoint
from model.errors import CheckpointError, ConfigError
from model.networks.image_encoders import ResNetFeatures
from tests.worker.file_host import Host
from worker import fetch as fetching
from worker.commands.data_creation import bodies
from worker.commands.evaluate import evaluate, generate
from worker.data import build_dataset
from worker.data.windows import window_of
from worker.evaluation.layout import GenerationFolder
from worker.evaluation.validation import validate
from worker.fetch import FetchError
from worker.tasks.images import Images
from worker.tasks.registry import load_task
from worker.training import initialization
from worker.training.initialization import initialize
from worker.training.pictures import picture
from worker.training.stopping import Stop
from worker.training.trainer import Trainer

FRAMES, SIZE = 3, 32

app = typer.Typer()
for command in (generate, evaluate, bodies):
    app.command()(command)


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def settings(method: str, **data: Any) -> dict[str, Any]:
    """Of a small network: conv_3D two wide, decoders 16 wide; resnet18 is as wide as it is."""
    narrow = {"hidden_dim": 2}
    model: dict[str, dict[str, Any]] = {
        "oflow": {
            "encoder_kwargs": {"pretrained": False},
            "encoder_temporal_kwargs": narrow,
            "velocity_field_kwargs": {"hidden_size": 16},
            "decoder_kwargs": {"hidden_size": 16},
        },
        "onet4d": {"encoder_temporal_kwargs": narrow, "decoder_kwargs": {"hidden_size": 16}},
        "psgn4d": {
            "encoder_kwargs": narrow,
            "decoder_kwargs": {"hidden_size": 0, "n_steps": FRAMES, "n_points": 100, "hidden_dim": 32},
        },
    }
    bodies = {"windows_per_scene": 4, "variety": 0.0, "turn": 0.0, "held_out_windows": 2}
    return {
        "data": {
            "dataset": "bodies",
            "img_size": SIZE,
            "length_sequence": FRAMES,
            "n_training_points": 64,
            "n_training_pcl_points": 32,
            "bodies": bodies,
        }
        | data,
        "model": {"c_dim": 16, **model[method.partition("_")[0]]},
        "training": {"batch_size": 4, "n_eval_points": 500, "validate_every": 0, "num_workers": 0},
        "test": {"threshold": 0.5},
        "generation": {"n_time_steps": FRAMES, "resolution_0": 16, "upsampling_steps": 0},
    }


def small(method: str, folder: Path, training: dict[str, Any] | None = None, **data: Any) -> Config:
    values = settings(method, **data)
    values["training"] |= {"out_dir": str(folder), **(training or {})}
    return load_config(f"img/{method}", values)


def overrides(values: dict[str, Any], prefix: str = "") -> list[str]:
    """As words of the command line."""
    words = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        words += overrides(value, f"{name}.") if isinstance(value, dict) else [f"{name}={value}"]
    return words


def octahedron(config: Config, folder: Path) -> Path:
    """A checkpoint that sees |x| + |y| + |z| < 1/4 in any image, and moves it along x by a tenth."""
    net: Any = build_model(config)
    with torch.no_grad():
        for parameter in (*net.vector_field.parameters(), *net.decoder.parameters()):
            parameter.zero_()
        net.vector_field.fc_out.bias[0] = 0.1
        decoder = net.decoder  # whose features are x, y, z and -x, -y, -z, which the ReLU cuts at 0
        decoder.fc_p.weight[:6, :, 0] = torch.cat([torch.eye(3), -torch.eye(3)])
        decoder.bn.fc_gamma.bias.fill_(1)
        decoder.fc_out.weight[0, :6, 0] = -20
        decoder.fc_out.bias.fill_(5)
    file = folder / "octahedron.pt"
    save_checkpoint(file, {"model": net.state_dict()})
    return file


def test_the_mesh_of_the_first_image_is_carried_by_the_flow_of_all(tmp_path: Path) -> None:
    config = small("oflow", tmp_path)
    task = load_task(config, octahedron(config, tmp_path))
    assert isinstance(task, Images)
    output = task(build_dataset(config, "test")[0])
    first, last = output.vertices[0], output.vertices[-1]
    assert np.abs(first).sum(axis=1) == pytest.approx(0.25, abs=0.02), "where the octahedron's faces are"
    np.testing.assert_allclose(last - first, np.broadcast_to([0.1, 0, 0], first.shape), atol=1e-5)
    assert output.animation is not None
    assert {"time (encode inputs)", "time (extract mesh)", "time (forward propagation)"} <= set(
        output.seconds
    )


@pytest.mark.parametrize("method", ["oflow_w_correspond", "onet4d", "psgn4d"])
def test_films_of_bodies_are_learned(method: str, tmp_path: Path) -> None:
    # Running means of batch normalization need this many steps to be usable.
    training = {"max_iterations": 60, "learning_rate": 0.003, "solver_steps": 2}
    config = small(method, tmp_path, training)
    trainer = Trainer(config)
    before = validate(trainer.net, trainer.val_source, config, "cpu")
    assert trainer.run(Stop())
    after = validate(trainer.net, trainer.val_source, config, "cpu")
    assert after["loss"] < 0.6 * before["loss"]
    if method == "psgn4d":
        pixels = picture(trainer.net, config, build_dataset(trainer.config, "val")[0], "cpu")
        assert pixels is not None
        assert pixels.shape == (640, 720, 3)


def test_frames_on_disk_are_generated_and_evaluated(tmp_path: Path) -> None:
    sizes = ("--people", 1, "--new-people", 0, "--frames", FRAMES, "--points", 400, "--workers", 1)
    run("bodies", tmp_path / "Humans", *sizes, "--images", 1, "--image-size", SIZE)
    on_disk: dict[str, Any] = {"dataset": "Humans", "path": str(tmp_path / "Humans"), "classes": ["bodies"]}
    on_disk |= {"offset_sequence": 0, "test_split": "val"}
    config = small("oflow", tmp_path, **on_disk)
    checkpoint = octahedron(config, tmp_path)
    words = ["img/oflow", *overrides(settings("oflow", **on_disk)), "--out", str(tmp_path / "out")]
    assert "1 windows generated" in run("generate", *words, "--checkpoint", checkpoint)
    assert "0 windows generated, 1 kept" in run("generate", *words, "--checkpoint", checkpoint)
    dataset = build_dataset(config, "test")
    folder = GenerationFolder(tmp_path / "out")
    window = window_of(dataset, 0)
    assert len(folder.read_meshes(window)) == FRAMES
    assert next(folder.results(window).glob("*.glb")).read_bytes()[:4] == b"glTF"
    run("evaluate", *words, "--workers", 1)
    row = pd.read_pickle(tmp_path / "out" / "eval_meshes_full.pkl").loc[0]
    assert 0 < row["iou (mesh)"] < 1
    assert row["l2 (mesh)"] > 0


def torchvision_file(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """As torchvision gives them: the bare state_dict of a whole resnet18."""
    torch.manual_seed(7)
    state = ResNetFeatures().state_dict()
    state |= {"fc.weight": torch.randn(1000, 512), "fc.bias": torch.randn(1000)}
    file = folder / "resnet18-f37072fd.pth"
    torch.save(state, file)
    return file, state


def test_weights_of_torchvision_go_into_the_encoder(tmp_path: Path) -> None:
    file, state = torchvision_file(tmp_path)
    config = load_config("img/oflow", settings("oflow"))
    config = config.model_copy(
        update={"model": config.model.model_copy(update={"initialize_from": str(file)})}
    )
    net = build_model(config)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    note = initialize(net, config)
    assert note is not None
    assert f"{len(state) - 2} of {len(before)} tensors" in note
    for name, tensor in net.state_dict().items():
        theirs = state.get(name.removeprefix("encoder.features."))
        expected = theirs if name.startswith("encoder.features.") else before[name]
        assert expected is not None
        assert torch.equal(tensor, expected), name


def test_training_starts_from_imagenet_as_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are fetched once; without them the message says how to go on."""
    file, state = torchvision_file(tmp_path)
    host = Host(content := file.read_bytes(), f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth")
    monkeypatch.setenv("OFLOW_CHECKPOINTS_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(fetching, "PAUSE", 0.01)
    monkeypatch.setattr(initialization, "RESNET18", host.url)
    plain = {"c_dim": 16, "decoder_kwargs": {"hidden_size": 16}}
    config = load_config("img/oflow", {"model": plain})
    assert "resnet18" in str(initialize(net := build_model(config), config))
    assert torch.equal(net.get_parameter("encoder.features.conv1.weight"), state["conv1.weight"])
    random = load_config("img/oflow", {"model": plain | {"encoder_kwargs": {"pretrained": False}}})
    assert initialize(build_model(random), random) is None
    host.server.shutdown()
    host.server.server_close()
    assert initialize(build_model(config), config) is not None, "kept"
    monkeypatch.setenv("OFLOW_CHECKPOINTS_DIR", str(tmp_path / "elsewhere"))
    with pytest.raises(FetchError, match=r"put it at .*elsewhere.* set model.encoder_kwargs.pretrained: fal"):
        initialize(build_model(config), config)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file, state = torchvision_file(tmp_path)
    for name, changes in (
        ("img/oflow", {"layer1.0.conv3.weight": torch.zeros(256, 64, 1, 1)}),
        ("img/oflow", {"layer4.0.conv1.weight": torch.zeros(1024, 256, 3, 3)}),
        ("pointcloud/oflow", {}),
    ):
        torch.save(state | changes, file)
        config = load_config(name, {"model": {"initialize_from": str(file)}})
        with pytest.raises(CheckpointError, match="wanted those of resnet18"):
            initialize(build_model(config), config)


def test_a_config_without_its_parts_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.encoder is null; wanted the parts of img/oflow"):
        load_task(load_config("img/oflow", {"model": {"encoder": None}}))
