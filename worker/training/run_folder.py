"""The files of one run, in `training.out_dir`: what it has reached, its best, and its past.

`model.pt` is the last state, from which a run goes on; `model_best.pt` the best by validation;
`model_<it>.pt` are backups. All are checkpoints in the published format, with what is needed to make them
again.
"""

import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.checkpoints import load_checkpoint, read_checkpoint, save_checkpoint
from model.config.schema import BUNDLE, Config
from model.errors import CheckpointError


@dataclass
class Reached:
    """How far a run is: steps done, epochs begun, and the best value of the selection metric."""

    it: int
    epoch_it: int
    loss_val_best: float


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

    def save(self, path: Path, net: nn.Module, optimizer: torch.optim.Optimizer, reached: Reached) -> None:
        """Write one checkpoint, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        config = self.config.model_dump()
        content = {
            "model": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epoch_it": reached.epoch_it,
            "it": reached.it,
            "loss_val_best": reached.loss_val_best,
            "config": config,
            "config_name": self.config.name,
            "code_version": self.code_version,
            # Training data is a function of these and of the code.
            "data_recipe": {"data": config["data"], "seed": self.config.training.seed},
            "rng": _random_states(),
        }
        save_checkpoint(path, content)

    def resume(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> Reached | None:
        """Load `model.pt` into both, and the random states; None where there is none."""
        if not self.last.exists():
            return None
        load_checkpoint(self.last, net)
        content = read_checkpoint(self.last)
        try:
            reached = Reached(content["it"], content["epoch_it"], float(content["loss_val_best"]))
            optimizer.load_state_dict(content["optimizer"])
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
    release = version("oflow")
    if not (BUNDLE / ".git").exists():
        return release
    git = ["git", "-C", str(BUNDLE), "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True)  # noqa: S603 - no input of a user
    except (OSError, subprocess.CalledProcessError):
        return release
    return f"{release}+{commit.stdout.strip()}"
