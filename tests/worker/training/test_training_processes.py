"""Whole processes: exit codes of the command, and several processes that train as one."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from model.checkpoints import load_checkpoint, read_checkpoint
from model.config.schema import load_config
from model.methods import build_model
from tests.worker.training_data import Balls, tiny_config, tiny_file
from worker.commands.train import join, train
from worker.processes import Processes
from worker.training import trainer as trainer_module
from worker.training.stopping import Stop
from worker.training.trainer import Trainer

ROOT = Path(__file__).parents[3]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
# A batch norm takes these biases off again: their gradients are rounding, which Adam turns into whole steps.
FREE = re.compile(r"decoder.*(fc_p|fc_0|fc_1)\.bias|running_mean")
app = typer.Typer()
app.command()(train)
app.command()(join)


@pytest.fixture
def balls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "open_source", lambda config, split: Balls())
    monkeypatch.setattr(Stop, "listen", lambda self: None)  # the handlers of the test runner stay


def invoke(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_two_processes_train_as_one_with_the_joint_batch(tmp_path: Path) -> None:
    configs = {}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        configs[name] = tiny_file(tmp_path / name, clip_gradient_norm=0.5)
    assert Trainer(load_config(configs["one"]), sources=(Balls(), Balls())).run(Stop())
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "tests.worker.training_process", str(configs["two"])]
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True, timeout=200)
    losses = [scalars(tmp_path / name / "run") for name in configs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    one, two = (read_checkpoint(tmp_path / name / "run" / "model.pt") for name in configs)
    assert one["it"] == two["it"] == 8
    compared = [name for name in one["model"] if not FREE.search(name)]
    assert len(compared) > 100
    for name in compared:
        torch.testing.assert_close(two["model"][name], one["model"][name], atol=1e-4, rtol=1e-3, msg=name)


def scalars(folder: Path) -> list[float]:
    """Losses and norms of gradients, step by step."""
    log = EventAccumulator(str(folder / "logs"))
    log.Reload()
    return [event.value for tag in ("loss", "gradient_norm") for event in log.Scalars(f"train/{tag}")]


def test_the_joint_batch_is_shared_out() -> None:
    assert [Processes(2, rank).rows(16) for rank in (0, 1)] == [range(8), range(8, 16)]
    with pytest.raises(Exception, match="batch_size is 15, over 2 processes; wanted a multiple"):
        Processes(2, 0).rows(15)


def test_the_command_goes_on_to_the_end(tmp_path: Path, balls: None) -> None:
    file = tiny_file(tmp_path)
    early = ("training.validate_every=0", "--exit-after", 0)  # else the first validation would end it
    cut = invoke("train", file, *early, "--device", "cpu", "--out", tmp_path / "here")
    assert cut.exit_code == 3, cut.output
    assert read_checkpoint(tmp_path / "here" / "model.pt")["it"] == 1
    rest = invoke("train", file, "training.max_iterations=3", "--device", "cpu", "--out", tmp_path / "here")
    assert rest.exit_code == 0, rest.output
    assert "goes on at step 1" in rest.output
    assert "training.max_iterations: 8 → 3" in rest.output
    assert read_checkpoint(tmp_path / "here" / "model.pt")["it"] == 3


def test_minutes_end_the_command(tmp_path: Path, balls: None) -> None:
    timed = invoke(
        "train", tiny_file(tmp_path), "training.max_iterations=null", "--minutes", "0.01", "--device", "cpu"
    )
    assert timed.exit_code == 0, timed.output
    assert read_checkpoint(tmp_path / "run" / "model.pt")["it"] >= 1


def test_refusals(tmp_path: Path, balls: None) -> None:
    file = tiny_file(tmp_path)
    assert invoke("train", file, "training.batch_sise=3", "--device", "cpu").exit_code == 2
    assert invoke("train", file, "--precision", "fp8", "--device", "cpu").exit_code == 2
    assert invoke("train", file, "nonsense", "--device", "cpu").exit_code == 2
    assert invoke("train", "no/such/config").exit_code == 2


def test_the_loss_is_lost(tmp_path: Path, balls: None) -> None:
    lost = invoke("train", tiny_file(tmp_path), "training.learning_rate=1e30", "--device", "cpu")
    assert lost.exit_code == 4, lost.output


def test_sigterm_to_the_command_itself(tmp_path: Path) -> None:
    """A real process on bodies, with workers that prepare its data."""
    overrides = [
        "data.dataset=bodies",
        "data.train_split=train",
        "data.val_split=val",
        "training.num_workers=1",
    ]
    sizes = ["training.max_iterations=100000", "data.length_sequence=5", "training.validate_every=0"]
    file = tiny_file(tmp_path, checkpoint_every=1, backup_every=0)
    command = "import sys, typer; from worker.commands.train import train; typer.run(train)"
    words = [sys.executable, "-c", command, str(file), "--device", "cpu", *overrides, *sizes]
    process = subprocess.Popen(words, cwd=ROOT, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE)
    saved = tmp_path / "run" / "model.pt"
    deadline = time.monotonic() + 100
    while not saved.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 3, output
    assert "SIGTERM: saved" in output
    assert read_checkpoint(saved)["it"] >= 1


def test_halves_are_joined(tmp_path: Path, balls: None) -> None:
    flow = {"parts": "flow", "model_selection_metric": "l2", "model_selection_mode": "minimize"}
    halves: dict[str, dict[str, Any]] = {"shape": {"parts": "shape"}, "flow": flow}
    for name, settings in halves.items():
        (tmp_path / name).mkdir()
        Trainer(tiny_config(tmp_path / name, max_iterations=2, **settings), sources=(Balls(), Balls())).run(
            Stop()
        )
    files = {name: tmp_path / name / "run" / "model.pt" for name in ("shape", "flow")}
    target = tmp_path / "joined" / "model.pt"
    result = invoke("join", files["shape"], files["flow"], target)
    assert result.exit_code == 0, result.output
    net = build_model(tiny_config(tmp_path))
    assert load_checkpoint(target, net) == {"it": 2}
    states = {name: read_checkpoint(file)["model"] for name, file in files.items()}
    for name, tensor in net.state_dict().items():
        half = "shape" if name.startswith(("encoder.", "decoder.")) else "flow"
        assert torch.equal(tensor, states[half][name]), name
    assert read_checkpoint(target)["halves"]["flow"]["config"]["training"]["parts"] == "flow"
