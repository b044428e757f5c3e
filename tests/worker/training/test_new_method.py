"""What it takes to add a method: an object in the registry, a YAML file and, here, data of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml
from torch import Tensor, nn
from typer.testing import CliRunner

from model import build_model, load_config
from model.checkpoints import read_checkpoint
from model.errors import ConfigError
from model.methods import METHODS, freeze_other_parts, losses
from model.methods.method import Method
from worker.commands.cli import app
from worker.data import STREAMS, DataError, build_dataset
from worker.tasks.registry import TASKS, task_name
from worker.training.parts import join_halves


class LineNet(nn.Module):
    def __init__(self, c_dim: int) -> None:
        super().__init__()
        self.slope, self.offset = nn.Linear(c_dim, 1, bias=False), nn.Linear(1, 1)


class LineMethod(Method[LineNet]):
    """Learns the slope in one half and the offset in the other."""

    name = "line"
    datasets = ("numbers",)
    halves: ClassVar = {"shape": ("slope",), "flow": ("offset",)}

    def find_conflict(self, config: Any) -> str | None:
        return "model.c_dim is 0; wanted 1 or more" if config.model.c_dim == 0 else None

    def task(self, config: Any) -> str:
        return "point sets"

    def build(self, config: Any) -> LineNet:
        return LineNet(config.model.c_dim)

    def loss_fields(self, config: Any) -> dict[str, tuple[str, ...]]:
        return {config.training.parts: ()}

    def losses(self, net: LineNet, batch: tuple[Tensor, Tensor], config: Any) -> dict[str, Tensor]:
        x, y = batch
        half = config.training.parts
        predicted = net.slope(x) if half == "shape" else net.offset(x[:, :1])
        return {half: (predicted[:, 0] - y).square().mean()}

    def score(self, net: LineNet, batch: tuple[Tensor, Tensor], config: Any) -> dict[str, list[float]]:
        return {"l2": [self.losses(net, batch, config)[config.training.parts].item()]}

    def minimized_metrics(self, config: Any) -> tuple[str, ...]:
        return ("l2",)


class Numbers:
    """Batches are tuples, a function of the step."""

    first_steps: ClassVar[list[int]] = []

    def __init__(self, config: Any, split: str) -> None:
        self.c_dim = config.model.c_dim

    def batches(self, first_step: int, rows: range, device: str) -> Iterator[tuple[Tensor, Tensor]]:
        self.first_steps.append(first_step)
        for step in range(first_step, 10_000):
            yield self._draw(step, len(rows))

    def validation(self, device: str) -> Iterator[tuple[Tensor, Tensor]]:
        yield self._draw(-1, 32)

    def _draw(self, step: int, count: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(count, self.c_dim, generator=torch.Generator().manual_seed(step + 1))
        return x, x @ torch.ones(self.c_dim)


@pytest.fixture
def line_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(METHODS, "line", LineMethod())
    monkeypatch.setitem(STREAMS, "numbers", Numbers)
    monkeypatch.setattr(Numbers, "first_steps", [])
    training = {"parts": "shape", "batch_size": 8, "learning_rate": 0.05, "max_iterations": 40}
    training |= {"out_dir": str(tmp_path / "out"), "validate_every": 20, "num_workers": 0}
    training |= {"model_selection_metric": "l2", "model_selection_mode": "minimize"}
    values = {
        "method": "line",
        "data": {"dataset": "numbers", "input_type": None},
        "model": {"c_dim": 3},
        "training": training,
    }
    file = tmp_path / "line.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def train(file: Path, *overrides: str) -> str:
    result = CliRunner().invoke(app, ["train", str(file), *overrides, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    return result.output


def test_configs_know_it(line_config: Path) -> None:
    config = load_config(line_config)
    assert isinstance(build_model(config), LineNet)
    assert task_name(config) in TASKS
    with pytest.raises(
        ConfigError, match=r"found nothing, wanted 'oflow', 'local_oflow', 'onet4d', 'psgn4d' or 'line'"
    ):
        load_config(line_config, {"method": "nothing"})
    with pytest.raises(ConfigError, match=r"found letters, wanted .Humans., .bodies., .solids. or .numbers."):
        load_config(line_config, {"data": {"dataset": "letters"}})
    with pytest.raises(ConfigError, match="bodies, which method line does not read; wanted numbers"):
        load_config(line_config, {"data": {"dataset": "bodies"}})
    with pytest.raises(ConfigError, match=r"model\.c_dim is 0; wanted 1 or more"):
        load_config(line_config, {"model": {"c_dim": 0}})
    with pytest.raises(ConfigError, match="dataset is numbers, which method oflow does not read"):
        load_config("pointcloud/oflow", {"data": {"dataset": "numbers"}})


def test_the_command_trains_its_halves_on_its_own_data(line_config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = train(line_config)
    assert "best so far" in said
    before = build_model(load_config(line_config)).state_dict()
    shape = read_checkpoint(out / "model.pt")["model"]
    assert shape["slope.weight"].sub(1).abs().max() < 0.3
    train(line_config, "training.max_iterations=60")
    assert Numbers.first_steps == [0, 40]
    flow = tmp_path / "flow"
    train(line_config, "training.parts=flow", f"training.out_dir={flow}")
    trained = read_checkpoint(flow / "model.pt")["model"]
    assert not torch.equal(trained["offset.weight"], shape["offset.weight"])
    assert set(before) == set(trained)

    counts = join_halves(out / "model.pt", flow / "model.pt", tmp_path / "joined.pt")
    assert counts == {"shape": 1, "flow": 2}
    joined = read_checkpoint(tmp_path / "joined.pt")["model"]
    torch.testing.assert_close(joined["offset.weight"], trained["offset.weight"])


def test_gradients_stay_in_a_half(line_config: Path) -> None:
    config = load_config(line_config)
    net = build_model(config)
    freeze_other_parts(net, config)
    batch = next(STREAMS["numbers"](config, "train").batches(0, range(4), "cpu"))
    losses(net, batch, config)["loss"].backward()
    assert [name for name, value in net.named_parameters() if value.grad is not None] == ["slope.weight"]


def test_a_stream_has_no_windows(line_config: Path) -> None:
    with pytest.raises(DataError, match="numbers is a stream of batches"):
        build_dataset(load_config(line_config), "test")
