"""Options for a GPU box that change no result, or little: counted and compared on a CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model.errors import ConfigError
from tests.worker.training_data import Balls, tiny_config
from worker.data import batches as batches_module
from worker.data.batches import Batches, worker_count
from worker.training import learner as learner_module
from worker.training.stopping import Stop
from worker.training.trainer import Trainer

SOURCES = (Balls(), Balls())
NEVER: dict[str, Any] = {"print_every": 0, "checkpoint_every": 0, "validate_every": 0, "backup_every": 0}


class Reads(TorchDispatchMode):
    """Counts values that are read from a tensor, for most of which a GPU has to finish all before."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_steps_do_not_wait_for_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(tiny_config(tmp_path, **NEVER), sources=SOURCES)
    trainer.run_ahead = 4  # as on a GPU: 10
    lists: list[torch.Size] = []
    plain = torch.Tensor.tolist

    def counted(tensor: torch.Tensor) -> Any:
        lists.append(tensor.shape)
        return plain(tensor)

    learn, reads = trainer.learner.learn, Reads()

    def watched(batch: Any, rate: float, step: int) -> dict[str, torch.Tensor]:
        with reads:
            return learn(batch, rate, step)

    trainer.learner.learn = watched  # type: ignore[method-assign]
    monkeypatch.setattr(torch.Tensor, "tolist", counted)
    assert trainer.run(Stop())
    assert trainer.reached.it == 8
    assert reads.count == 2 * 8, "whether the times of each of two solves are 0 or later"
    assert len([shape for shape in lists if len(shape) == 2]) == 2, "losses, once for every four steps"
    assert len(lists) == 2 + 2 * 8, "and the times of each solve, which are on the CPU"


def weights_after(folder: Path, **training: Any) -> dict[str, torch.Tensor]:
    folder.mkdir()
    trainer = Trainer(tiny_config(folder, **(NEVER | training)), sources=SOURCES)
    assert trainer.run(Stop())
    return {name: value.clone() for name, value in trainer.net.state_dict().items()}


def test_compiled_steps_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(type(graph).__name__)
        return graph.forward

    monkeypatch.setattr(learner_module, "BACKEND", backend)  # inductor takes a minute
    plain = weights_after(tmp_path / "plain", max_iterations=2)
    fast = weights_after(tmp_path / "fast", max_iterations=2, compile=True)
    assert compiled
    for name, value in plain.items():
        torch.testing.assert_close(fast[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near(tmp_path: Path, precision: str) -> None:
    plain = weights_after(tmp_path / "plain", max_iterations=3)
    half = weights_after(tmp_path / precision, max_iterations=3, precision=precision)
    moved = {name: float((half[name] - value).abs().float().mean()) for name, value in plain.items()}
    assert max(moved.values()) > 0
    assert all(moved[name] < 0.01 for name, value in plain.items() if value.dim() >= 2)


def test_a_factor_that_is_too_large_costs_a_step_and_not_the_run(tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(tmp_path, **NEVER, precision="fp16", max_iterations=2), sources=SOURCES)
    before = {name: value.clone() for name, value in trainer.net.named_parameters()}
    trainer.learner.scaler = torch.amp.GradScaler("cpu", init_scale=1e30)
    assert trainer.run(Stop())
    assert trainer.learner.scaler.get_scale() < 1e30
    for name, value in trainer.net.named_parameters():
        assert torch.equal(value, before[name]), name


class Numbered(Balls):
    """Items that hold the number of their window."""

    def sample(self, seed: tuple[int, ...], index: int | None = None) -> dict[str, Any]:
        drawn = int(np.random.default_rng(seed).integers(len(self))) if index is None else index
        return {"inputs": np.float32(drawn)}


def test_an_epoch_has_every_window_once() -> None:
    batches = Batches(Numbered(6), 0, range(4), ["inputs"], epoch_batch=4)
    drawn = torch.cat([batches[step]["inputs"] for step in range(6)]).tolist()  # 24 items of 6 windows
    epochs = [drawn[start : start + 6] for start in range(0, 24, 6)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    again = Batches(Numbered(6), 0, range(2, 4), ["inputs"], epoch_batch=4)
    assert again[3]["inputs"].tolist() == drawn[14:16], "a function of the step and the row"


def test_epochs_need_an_end(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sampling is epochs, and data\.dataset bodies has no end"):
        tiny_config(tmp_path, {"data": {"dataset": "bodies"}}, sampling="epochs")


def test_processes_follow_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "available_cores", lambda: 6)
    assert (worker_count(None), worker_count(0), worker_count(3)) == (6, 0, 3)
    monkeypatch.setattr(batches_module, "available_cores", lambda: 64)
    assert worker_count(None) == 8


def test_the_first_validation_obeys_exit_after(tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(tmp_path), sources=SOURCES)
    asked: list[int] = []

    class Slow(Balls):
        def __getitem__(self, index: int) -> dict[str, Any]:
            asked.append(index)
            return super().__getitem__(index)

    trainer.val_source = Slow(6)
    assert not trainer.run(Stop(0.0))
    assert len(asked) < 6
    assert trainer.reached.it == 0
    assert trainer.folder.last.exists()
