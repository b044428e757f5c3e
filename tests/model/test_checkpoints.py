"""Checkpoints load wherever they were made; what does not fit is refused by name."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from model.checkpoints import checkpoint_hash, find_checkpoint, load_checkpoint, read_checkpoint
from model.config.schema import load_config
from model.errors import CheckpointError
from model.methods import build_model
from service.core.version import VERSION


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def save(path: Path, net: nn.Module, **entries: Any) -> Path:
    torch.save({"model": net.state_dict(), "optimizer": {"state": {}}, **entries}, path)
    return path


def blank(net: nn.Module) -> nn.Module:
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    nn.init.zeros_(other.state_dict()["0.weight"])
    assert not torch.equal(other.state_dict()["0.weight"], net.state_dict()["0.weight"])
    return other


def test_weights_and_scalars(tmp_path: Path, net: nn.Module) -> None:
    path = save(tmp_path / "a.pt", net, epoch_it=3, it=70, loss_val_best=0.25)
    other = blank(net)
    assert load_checkpoint(path, other) == {"epoch_it": 3, "it": 70, "loss_val_best": 0.25}
    assert torch.equal(other.state_dict()["0.weight"], net.state_dict()["0.weight"])


@pytest.mark.parametrize("zipped", [True, False])
def test_published_files_hold_a_numpy_scalar(tmp_path: Path, net: nn.Module, zipped: bool) -> None:
    content = {"model": net.state_dict(), "loss_val_best": np.float64(0.75)}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert load_checkpoint(tmp_path / "a.pt", blank(net)) == {"loss_val_best": 0.75}


def test_old_numpy_name(tmp_path: Path, net: nn.Module) -> None:
    torch.save(
        {"model": net.state_dict(), "loss_val_best": np.float64(0.75)},
        tmp_path / "new.pt",
        _use_new_zipfile_serialization=False,
    )
    content = (tmp_path / "new.pt").read_bytes()
    assert b"numpy._core.multiarray" in content
    (tmp_path / "old.pt").write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert load_checkpoint(tmp_path / "old.pt", blank(net)) == {"loss_val_best": 0.75}


def test_made_on_a_gpu(tmp_path: Path, net: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        path = save(tmp_path / "gpu.pt", net)
    assert b"cuda:0" in path.read_bytes()
    other = blank(net)
    load_checkpoint(path, other)
    assert torch.equal(other.state_dict()["0.weight"], net.state_dict()["0.weight"])


def test_every_tensor_that_does_not_fit_is_named(tmp_path: Path, net: nn.Module) -> None:
    state = net.state_dict()
    del state["0.bias"]
    state["0.weight"] = torch.zeros(4, 5)
    state["2.extra"] = torch.zeros(1)
    state["1.weight"] = torch.full((4,), float("nan"))
    torch.save({"model": state}, tmp_path / "a.pt")
    other = blank(net)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "a.pt", other)
    message = str(caught.value)
    assert "1 missing: 0.bias" in message
    assert "1 unexpected: 2.extra" in message
    assert "0.weight (found [4, 5], wanted [4, 3])" in message
    assert "1 not finite: 1.weight" in message
    assert torch.equal(other.state_dict()["0.weight"], torch.zeros(4, 3))


def test_what_is_no_checkpoint(tmp_path: Path, net: nn.Module) -> None:
    whole = save(tmp_path / "whole.pt", net).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pt").write_text("not a checkpoint at all")
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("cut.pt", "text.pt", "empty.pt"):
        with pytest.raises(CheckpointError, match=f"{name} is not a readable checkpoint"):
            load_checkpoint(tmp_path / name, net)
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(tmp_path / "none.pt", net)
    with pytest.raises(CheckpointError, match="it is a folder"):
        load_checkpoint(tmp_path, net)
    torch.save(net.state_dict(), tmp_path / "bare.pt")
    with pytest.raises(CheckpointError, match=r"found 0.weight.*wanted an entry 'model'"):
        load_checkpoint(tmp_path / "bare.pt", net)


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("harmed"),)


def test_code_in_a_checkpoint_does_not_run(
    tmp_path: Path, net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "a.pt", net, note=Harmful())
    with pytest.raises(CheckpointError):
        load_checkpoint(path, net)
    assert not (tmp_path / "harmed").exists()


def test_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert checkpoint_hash(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_the_shipped_checkpoint_fits_its_config() -> None:
    config = load_config("bodies")
    scalars = load_checkpoint(find_checkpoint(config), build_model(config))
    assert scalars["it"] == 10500
    halves = read_checkpoint(find_checkpoint(config))["halves"]
    for half in ("shape", "flow"):
        assert halves[half]["config_name"] == f"training/bodies_{half}"
        assert halves[half]["code_version"].startswith(f"{VERSION}+")
        assert halves[half]["data_recipe"]["data"]["bodies"]["variety"] == 1.0


def test_where_the_checkpoint_of_a_config_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config("pointcloud/oflow")
    with pytest.raises(
        CheckpointError, match=r"no checkpoint model_best.pt, neither in out/pointcloud/oflow"
    ):
        find_checkpoint(config)
    trained = tmp_path / "out/pointcloud/oflow/model_best.pt"
    trained.parent.mkdir(parents=True)
    trained.touch()
    assert find_checkpoint(config) == trained
    url = load_config("pointcloud/oflow", {"test": {"model_file": "https://example.org/a.pt"}})
    with pytest.raises(CheckpointError, match=r"https://example.org/a.pt"):
        find_checkpoint(url)
