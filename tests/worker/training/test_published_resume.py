"""Runs that go on across implementations: Adam's state is kept by the order of the parameters."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model.checkpoints import read_checkpoint
from model.errors import CheckpointError
from model.methods import build_model
from tests.worker.training_data import Balls, tiny_config
from worker.training.stopping import Stop
from worker.training.trainer import Trainer

STATE_DICTS = Path(__file__).parents[2] / "data" / "state_dicts"
PUBLISHED = list(json.loads((STATE_DICTS / "pointcloud_oflow_w_correspond.json").read_text()))
SOURCES = (Balls(), Balls())


def parameters() -> list[str]:
    """Names in the published order, without the buffers."""
    return [name for name in PUBLISHED if ".bn.running" not in name and "num_batches" not in name]


def moments(name: str, shape: torch.Size) -> dict[str, Any]:
    """Adam's state of a parameter, told from that of any other by its numbers."""
    number = float(1 + PUBLISHED.index(name))
    return {"step": 7, "exp_avg": torch.full(shape, number), "exp_avg_sq": torch.full(shape, number**2)}


def write_published(folder: Path, keys: list[Any] | None = None) -> dict[str, Tensor]:
    """`run/model.pt` as the published code writes it: `keys` number the parameters, from 0 by default."""
    torch.manual_seed(3)
    own = build_model(tiny_config(folder)).state_dict()
    state = {name: own[name] for name in PUBLISHED}
    names = parameters()
    keys = keys or list(range(len(names)))
    optimizer = {
        "state": {key: moments(name, state[name].shape) for key, name in zip(keys, names, strict=True)},
        "param_groups": [
            {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
            | {"params": keys}
        ],
    }
    content = {"epoch_it": 2, "it": 7, "loss_val_best": 0.25, "model": state, "optimizer": optimizer}
    (folder / "run").mkdir()
    torch.save(content, folder / "run" / "model.pt")
    return state


@pytest.mark.parametrize("first_key", [0, 140_000_000_000_000], ids=["position", "address"])
def test_a_published_run_goes_on(tmp_path: Path, first_key: int) -> None:
    """Also one of PyTorch before 1.5, which numbered parameters by their addresses."""
    count = len(parameters())
    state = write_published(tmp_path, [first_key + 64 * k if first_key else k for k in range(count)])
    trainer = Trainer(tiny_config(tmp_path), sources=SOURCES)
    assert (trainer.reached.it, trainer.reached.epoch_it, trainer.reached.loss_val_best) == (7, 2, 0.25)
    for name, parameter in trainer.net.named_parameters():
        assert torch.equal(parameter, state[name]), name
        restored = trainer.learner.optimizer.state[parameter]
        assert torch.equal(restored["exp_avg"], moments(name, parameter.shape)["exp_avg"]), name
        assert restored["step"] == 7
    assert trainer.learner.optimizer.param_groups[0]["lr"] == 0.002  # of the config
    assert trainer.run(Stop())
    assert trainer.reached.it == 8


def test_the_published_code_goes_on_from_ours(tmp_path: Path) -> None:
    """Its Adam counts the parameters of its network, whose order is that of the published state_dict."""
    trainer = Trainer(tiny_config(tmp_path), sources=SOURCES)
    assert trainer.run(Stop())
    content = torch.load(trainer.folder.last, weights_only=True)
    theirs = [torch.nn.Parameter(content["model"][name]) for name in parameters()]
    adam = torch.optim.Adam(theirs, lr=1e-4)
    adam.load_state_dict(content["optimizer"])
    own = dict(trainer.net.named_parameters())
    for name, parameter in zip(parameters(), theirs, strict=True):
        assert torch.equal(
            adam.state[parameter]["exp_avg"], trainer.learner.optimizer.state[own[name]]["exp_avg"]
        )
        parameter.grad = torch.ones_like(parameter)
    adam.step()


def test_a_run_of_another_order_goes_on(tmp_path: Path) -> None:
    """Runs begun before parameters had the published order: the checkpoint's own keys tell the order."""
    state = write_published(tmp_path)
    file = tmp_path / "run" / "model.pt"
    content = read_checkpoint(file)
    mixed = sorted(state)
    places = [parameters().index(name) for name in mixed if name in parameters()]
    saved = content["optimizer"]["state"]
    content["model"] = {name: state[name] for name in mixed}
    content["optimizer"]["state"] = {k: saved[place] for k, place in enumerate(places)}
    torch.save(content, file)
    trainer = Trainer(tiny_config(tmp_path), sources=SOURCES)
    for name, parameter in trainer.net.named_parameters():
        restored = trainer.learner.optimizer.state[parameter]
        assert torch.equal(restored["exp_avg"], moments(name, parameter.shape)["exp_avg"]), name


def test_moments_of_another_shape_are_refused(tmp_path: Path) -> None:
    write_published(tmp_path)
    file = tmp_path / "run" / "model.pt"
    content = read_checkpoint(file)
    content["optimizer"]["state"][0]["exp_avg"] = torch.ones(2)
    torch.save(content, file)
    with pytest.raises(
        CheckpointError, match=r"exp_avg of decoder\.fc_p\.weight is \[2\], wanted \[16, 3, 1\]"
    ):
        Trainer(tiny_config(tmp_path), sources=SOURCES)
