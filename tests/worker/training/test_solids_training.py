"""The halves of local_oflow learn from solids that are drawn while training."""

from pathlib import Path
from typing import Any

import pytest
import torch

from model import load_config
from model.checkpoints import read_checkpoint, save_checkpoint
from model.config.schema import Config
from model.errors import ConfigError
from model.methods import build_model
from worker.solids import source
from worker.solids.moving_pairs import PairSettings
from worker.solids.stream import StreamSettings
from worker.training.parts import join_halves
from worker.training.stopping import Stop
from worker.training.trainer import Trainer

CLOUDS = StreamSettings(
    bodies=0, solids=1, every=1, kept=4, ahead=2, surface=300, places=200, sizes=(40, 60),
    budget=120, clouds=2, queries=50,
)  # fmt: skip
PAIRS = PairSettings(sizes=(64, 96), points=256, most=3, queries=32, scenes=3, renewed=1, skeletons=6)


def config_of(half: str, folder: Path, cloud_points: list[int] | None = None, **training: Any) -> Config:
    settings = {"out_dir": str(folder), "max_minutes": None, "num_workers": 0, "n_val_items": 1}
    settings |= {"warmup_iterations": 2, "validate_every": 0, "checkpoint_every": 0, "precision": "fp32"}
    solids = {"batches": "small", "held_out_points": [60], "held_out_view_points": 60}
    solids |= {"cloud_points": cloud_points}
    return load_config(
        f"training/local_oflow_{half}", {"data": {"solids": solids}, "training": settings | training}
    )


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(source.CLOUDS, "small", CLOUDS)
    monkeypatch.setitem(source.PAIRS, "small", PAIRS)


def test_occupancy_is_learned(tmp_path: Path) -> None:
    trainer = Trainer(config_of("shape", tmp_path, max_iterations=50, precision="bf16"))
    losses: list[float] = []
    learn = trainer.learner.learn

    def noted(batch: Any, rate: float, step: int) -> dict[str, torch.Tensor]:
        terms = learn(batch, rate, step)
        losses.append(terms["loss"].item())
        return terms

    trainer.learner.learn = noted  # type: ignore[method-assign]
    before = {name: value.clone() for name, value in trainer.net.state_dict().items()}
    assert trainer.run(Stop())
    assert sum(losses) / len(losses) < 0.6  # chance is 0.69
    kept = read_checkpoint(trainer.folder.last)["model"]
    assert not torch.equal(kept["shape.rest.1.weight"], before["shape.rest.1.weight"])
    assert all(torch.equal(kept[name], value) for name, value in before.items() if name.startswith("flow."))


def test_a_run_of_pairs_cut_in_two_ends_as_one(tmp_path: Path) -> None:
    def run(folder: str, stop_at: int | None = None) -> Trainer:
        trainer = Trainer(config_of("flow", tmp_path / folder, max_iterations=4))
        stop, learn = Stop(), trainer.learner.learn

        def counted(batch: Any, rate: float, step: int) -> dict[str, torch.Tensor]:
            stop.signalled = "the test" if step == stop_at else None
            return learn(batch, rate, step)

        trainer.learner.learn = counted  # type: ignore[method-assign]
        assert trainer.run(stop) == (stop_at is None)
        return trainer

    whole = read_checkpoint(run("whole").folder.last)
    assert run("cut", stop_at=2).reached.it == 2
    cut = read_checkpoint(run("cut").folder.last)
    assert cut["it"] == 4
    for name, value in whole["model"].items():
        torch.testing.assert_close(cut["model"][name], value, atol=1e-6, rtol=1e-5)


def test_validation_scores_every_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer(config_of("flow", tmp_path, max_iterations=1, validate_every=1))
    trainer.run(Stop())
    said = capsys.readouterr().out
    for name in ("l2", "l2_bodies_60", "l2_bodies_view", "l2_solids_60_sure", "loss"):
        assert f"{name} 0." in said, name


def test_both_halves_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"parts is joint; .* wanted shape or flow"):
        Trainer(config_of("shape", tmp_path, parts="joint", max_iterations=1))


def test_halves_saved_alone_are_joined(tmp_path: Path) -> None:
    net = build_model(load_config("local_oflow"))
    for half in ("shape", "flow"):
        state = net.get_submodule(half).state_dict()
        save_checkpoint(tmp_path / f"{half}.pt", {"model": state, "it": 5})
    target = tmp_path / "joined.pt"
    counts = join_halves(tmp_path / "shape.pt", tmp_path / "flow.pt", target, float16=True)
    assert sum(counts.values()) == len(net.state_dict())
    joined = read_checkpoint(target)["model"]
    for name, value in net.state_dict().items():
        assert torch.equal(joined[name], value.half()), name


def test_clouds_have_the_sizes_that_are_given(tmp_path: Path) -> None:
    config = config_of("shape", tmp_path, cloud_points=[20, 20, 35], max_iterations=1)
    stream = source.CloudSource(config).batches(0, range(2), "cpu")
    assert {next(stream).points.shape[1] for _ in range(8)} == {20, 35}


def test_clouds_of_more_points_than_a_surface_has_are_refused(tmp_path: Path) -> None:
    config = config_of("shape", tmp_path, cloud_points=[20, 301], max_iterations=1)
    with pytest.raises(ConfigError, match=r"cloud_points names 301; wanted at most 300"):
        source.CloudSource(config).batches(0, range(2), "cpu")
