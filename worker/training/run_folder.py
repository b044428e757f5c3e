"""The files of one run, in `training.out_dir`: what it has reached, its best, and its past.

`model.pt` is the last state, from which a run goes on; `model_best.pt` the best by validation;
`model_<it>.pt` are backups. All are checkpoints in the published format, with what is needed to make them
again.
"""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from model.checkpoints import load_checkpoint, read_checkpoint, save_checkpoint
from model.config.files import BUNDLE
from model.config.schema import Config
from model.errors import CheckpointError
from service.core.version import VERSION
from worker.training.learner import Learner
from worker.training.optimizer_state import restore

LAST_WEIGHTS = "last_weights"  # of a checkpoint whose model is an average: those that learning goes on with


@dataclass
class Reached:
    """How far a run is: steps done, epochs begun, the best value of the selection metric, and the time it
    took.
    """

    it: int
    epoch_it: int
    loss_val_best: float
    seconds: float = field(default=0.0, compare=False)


class RunFolder:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.path = Path(config.training.out_dir)
        self.code_version = _code_version()

    @property
    def last(self) -> Path:
        return self.path / "model.pt"

    @property
    def best(self) -> Path:
        return self.path / "model_best.pt"

    def backup(self, it: int) -> Path:
        return self.path / f"model_{it}.pt"

    def save(self, path: Path, learner: Learner, reached: Reached) -> None:
        """Write one checkpoint, whole or not at all. Averaged weights, where there are any, are the model."""
        path.parent.mkdir(parents=True, exist_ok=True)
        config = self.config.model_dump()
        weights = {"model": learner.net.state_dict()}
        if learner.average is not None:
            weights = {"model": learner.average.state, LAST_WEIGHTS: learner.net.state_dict()}
        content = {
            **weights,
            "optimizer": learner.optimizer.state_dict(),
            "scaler": learner.scaler.state_dict(),
            "epoch_it": reached.epoch_it,
            "it": reached.it,
            "loss_val_best": reached.loss_val_best,
            "seconds": reached.seconds,
            "config": config,
            "config_name": self.config.name,
            "code_version": self.code_version,
            # Training data is a function of these and of the code.
            "data_recipe": {"data": config["data"], "seed": self.config.training.seed},
            "rng": _random_states(),
        }
        save_checkpoint(path, content)

    def resume(self, learner: Learner) -> Reached | None:
        """Load `model.pt`, of this project or of the published code, into a learner, and the random states.

        None where there is none. The settings of its optimizer stay those of the config.
        """
        if not self.last.exists():
            return None
        load_checkpoint(self.last, learner.net)
        content = read_checkpoint(self.last)
        try:
            if learner.average is not None:
                learner.average.restart()
            if LAST_WEIGHTS in content:
                learner.net.load_state_dict(content[LAST_WEIGHTS])
            reached = Reached(
                content["it"],
                content["epoch_it"],
                float(content["loss_val_best"]),
                float(content.get("seconds", 0.0)),
            )
            if scaler := content.get("scaler"):  # empty without half precision
                learner.scaler.load_state_dict(scaler)
            restore(learner.optimizer, content["optimizer"], content["model"], learner.net)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{self.last} has no state that this run can go on from ({type(error).__name__}: {error}); "
                "wanted one of the same training.parts, or another training.out_dir"
            ) from None
        _restore_random_states(content.get("rng", {}))
        return reached

    def changes(self) -> list[str]:
        """The settings that are not those `model.pt` was made with, as `key: then → now`."""
        then = read_checkpoint(self.last).get("config") if self.last.exists() else None
        if not then:
            return []
        old, new = _flat(then), _flat(self.config.model_dump())
        keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        return [f"{key}: {old.get(key)} → {new.get(key)}" for key in keys]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _random_states() -> dict[str, Any]:
    states: dict[str, Any] = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_random_states(states: dict[str, Any]) -> None:
    if "torch" in states:
        torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _code_version() -> str:
    """The release, and the commit where the code runs from a checkout."""
    if not (BUNDLE / ".git").exists():
        return VERSION
    git = ["git", "-C", str(BUNDLE), "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True)  # noqa: S603 - no input of a user
    except (OSError, subprocess.CalledProcessError):
        return VERSION
    return f"{VERSION}+{commit.stdout.strip()}"
