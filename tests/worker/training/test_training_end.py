"""The ways in which a run ends before its last step."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoints import read_checkpoint
from tests.worker.training_data import Balls, tiny_config
from worker.training.stopping import DivergedError, LossWatch, Stop
from worker.training.trainer import Trainer

SOURCES = (Balls(), Balls())
NEVER = {"checkpoint_every": 0, "validate_every": 0, "backup_every": 0}


def test_a_lost_loss_stops_and_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    class Poisoned(Balls):
        def sample(self, seed: tuple[int, ...]) -> dict[str, Any]:
            item = super().sample(seed)
            return item | {"inputs": item["inputs"] * np.float32("nan")} if seed[1] == 6 else item

    trainer = Trainer(tiny_config(tmp_path), sources=(Poisoned(), Balls()))
    with pytest.raises(DivergedError, match=r"step 6: the loss is nan .*good checkpoint is .*model\.pt"):
        trainer.run(Stop())
    state = read_checkpoint(trainer.folder.last)
    assert state["it"] == 4
    assert all(tensor.isfinite().all() for tensor in trainer.net.parameters())


def test_an_exploding_loss() -> None:
    watch = LossWatch()
    for _ in range(150):
        watch.check(0.1, 1.0)
    watch.check(40.0, 1.0)
    with pytest.raises(DivergedError, match=r"rose from 0\.1 to 1\.6"):
        watch.check(40.0, 1.0)
    calm = LossWatch()
    for step in range(500):  # a fall, noise, and one bad batch are no explosion
        calm.check(5.0 if step == 300 else 1 / (1 + step) + 0.1 * (step % 3), 1.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves(tmp_path: Path, number: signal.Signals) -> None:
    config = tiny_config(
        tmp_path, max_iterations=100_000, checkpoint_every=0, validate_every=0, backup_every=0
    )
    trainer = Trainer(config, sources=SOURCES)
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    stop = Stop()
    try:
        stop.listen()
        learn = trainer.learner.learn

        def interrupted(batch: Any, rate: float, step: int) -> dict[str, torch.Tensor]:
            os.kill(os.getpid(), number)
            return learn(batch, rate, step)

        trainer.learner.learn = interrupted  # type: ignore[method-assign]
        assert not trainer.run(stop)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert stop.reason == number.name
    assert read_checkpoint(trainer.folder.last)["it"] == 1


def test_exit_after(tmp_path: Path) -> None:
    config = tiny_config(
        tmp_path, max_iterations=100_000, checkpoint_every=0, validate_every=0, backup_every=0
    )
    began = time.monotonic()
    trainer = Trainer(config, sources=SOURCES)
    assert not trainer.run(Stop(1.0))
    assert 1 <= time.monotonic() - began < 20
    assert read_checkpoint(trainer.folder.last)["it"] == trainer.reached.it > 0
