"""Training for a given time: it learns, goes on where it was, and leaves what going on takes."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from model.networks.local_occupancy import LocalOccupancy
from worker.solids.stream import CloudStream, StreamSettings
from worker.training.endless import EndlessRun, Schedule
from worker.training.local_shape import Measurement, occupancy_loss
from worker.training.stopping import Stop

SMALL = StreamSettings(
    bodies=0, solids=1, every=1, kept=4, ahead=2, surface=300, places=200, least=40, most=60, sizes=2,
    budget=120, clouds=2, queries=50,
)  # fmt: skip


class Numbers:
    """Batches [8, 2] that follow from the step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __iter__(self) -> "Numbers":
        return self

    def __next__(self) -> Tensor:
        self.step += 1
        return torch.randn(8, 2, generator=torch.Generator().manual_seed(self.step))


def run_of(folder: Path, **schedule: float) -> EndlessRun[Tensor]:
    torch.manual_seed(0)
    settings = Schedule(learning_rate=0.05, warmup=2, bf16=False, **schedule)  # type: ignore[arg-type]
    return EndlessRun(
        nn.Linear(2, 1),
        Numbers,
        lambda net, x: (net(x) - x.sum(dim=1, keepdim=True)).square().mean(),
        lambda net: {"weight": float(net.get_parameter("weight").detach().sum())},
        settings,
        folder,
    )


def test_it_learns_and_says_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(tmp_path, steps=200)
    run.run(Stop())
    log = json.loads((tmp_path / "log.json").read_text())["log"]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert len(losses) == 4
    assert losses[-1] < 0.05 * losses[0]
    assert log[-1]["weight"] == pytest.approx(2, abs=0.1)
    assert "it 200" in capsys.readouterr().out
    assert torch.load(tmp_path / "model.pt", weights_only=True)["it"] == 200


def test_a_run_cut_in_two_ends_as_one(tmp_path: Path) -> None:
    whole = run_of(tmp_path / "whole", steps=20)
    whole.run(Stop())
    first = run_of(tmp_path / "cut", steps=20)
    stop = Stop()
    learn = first._learn

    def learn_and_stop(batch: Tensor) -> Tensor:
        if first.steps == 8:
            stop.signalled = "SIGTERM"
        return learn(batch)

    first._learn = learn_and_stop  # type: ignore[method-assign]
    first.run(stop)
    assert first.steps == 9
    second = run_of(tmp_path / "cut", steps=20)
    assert second.resume()
    second.run(Stop())
    assert second.steps == 20
    for name, value in whole.average.items():
        assert torch.equal(value, second.average[name])


def test_the_time_ends_a_run_and_its_learning_rate() -> None:
    schedule = Schedule(minutes=10, warmup=100)
    assert schedule.done(300, 5) == 0.5
    assert schedule.rate(0, 0) == pytest.approx(schedule.learning_rate / 100)
    assert schedule.rate(300, 500) == pytest.approx(schedule.learning_rate * 0.505)
    assert schedule.rate(600, 500) == pytest.approx(schedule.learning_rate * 0.01)
    assert Schedule(steps=10).done(1e6, 5) == 0.5


def test_a_lost_loss_ends_the_run_before_it_is_saved(tmp_path: Path) -> None:
    run = run_of(tmp_path, steps=100)
    run.loss = lambda net, x: net(x).mean() * math.nan
    with pytest.raises(FloatingPointError, match="loss is nan at step 50"):
        run.run(Stop())
    assert not run.checkpoint.exists()


def test_the_occupancy_network_learns_from_the_stream(tmp_path: Path) -> None:
    torch.manual_seed(0)
    run = EndlessRun(
        LocalOccupancy(),
        lambda first: CloudStream(SMALL, 1, "cpu", first),
        occupancy_loss,
        Measurement(1, "cpu", surface=400, places=300),
        Schedule(steps=60, warmup=5),
        tmp_path,
    )
    run.run(Stop())
    assert run.log[0]["loss"] < 0.6  # the mean of the first 50 steps; chance is 0.69
    assert {f"iou_{kind}_{n}" for kind in ("bodies", "solids") for n in (300, 1000, 2000, 5000)} <= set(
        run.log[-1]
    )
