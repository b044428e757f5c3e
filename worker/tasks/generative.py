"""The generative model: shapes and motions drawn from the prior, N(0, I)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.config.schema import Config
from model.errors import ConfigError
from model.methods import METHODS
from worker.tasks.decoding import Codes, Decoding
from worker.tasks.loaded import LoadedModel
from worker.tasks.task import Gives, Item, Output

SHAPE, MOTION = 0, 1  # keep the draws of the two codes apart


class Prior:
    """Codes by number: number i of a seed is always the same, however many are drawn.

    With `generation.fix_z` or `fix_zt` all numbers share that code; without `use_sampling` all are the mean.
    """

    def __init__(self, model: LoadedModel, seed: int) -> None:
        self._generation, self._z_dim = model.config.generation, model.config.model.z_dim
        self._device, self._seed = model.device, seed

    def draw(self, number: int) -> tuple[Tensor, Tensor]:
        """z and z_t, [1, z_dim] each."""
        generation = self._generation
        z = self._code(SHAPE, 0 if generation.fix_z else number)
        return z, self._code(MOTION, 0 if generation.fix_zt else number)

    def _code(self, which: int, number: int) -> Tensor:
        if not self._generation.use_sampling:
            return torch.zeros(1, self._z_dim, device=self._device)
        # By numpy: the same codes on every device.
        drawn = np.random.default_rng([self._seed, which, number]).standard_normal((1, self._z_dim))
        return torch.from_numpy(drawn.astype(np.float32)).to(self._device)


class Generative:
    """For every window a draw from the prior, as published; the window itself says only which draw."""

    gives: Gives = "meshes"

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self._decoding = Decoding(model)
        self._prior = Prior(model, model.config.generation.rand_seed)

    @staticmethod
    def check(config: Config) -> None:
        check_generative(config)

    @property
    def settings(self) -> dict[str, Any]:
        kept = ("use_sampling", "fix_z", "fix_zt", "rand_seed")
        draws = {key: getattr(self.model.config.generation, key) for key in kept}
        return self._decoding.settings | draws

    def __call__(self, item: Item) -> Output:
        with torch.inference_mode():
            codes = self.model.occupancy_flow.encode_inputs(self.model.inputs(item))
        return self._decoding.output(Codes(*self._prior.draw(int(item["idx"])), *codes))


def check_generative(config: Config) -> None:
    """Raise ConfigError for a model without latent codes of sequences, or one that makes no shapes."""
    model = config.model
    if METHODS[config.method].task(config) == "generative" and model.decoder is not None:
        return
    found = f"method {config.method}, model.z_dim {model.z_dim}, model.decoder {model.decoder}"
    raise ConfigError(
        f"{config.name} has no latent space of moving shapes: found {found}; wanted method oflow, a z_dim "
        "and a decoder: use generative/oflow, or `worker generate` for what this model does"
    )


def check_unconditional(config: Config) -> None:
    """Raise ConfigError where latent codes alone do not say what is generated."""
    check_generative(config)
    if parts := [name for name in ("encoder", "encoder_temporal") if getattr(config.model, name) is not None]:
        raise ConfigError(
            f"{config.name} generates from latent codes and from inputs (model.{parts[0]} is "
            f"{getattr(config.model, parts[0])}); use a model without encoders, such as generative/oflow, or "
            "`worker generate`, which reads the inputs of a data set"
        )


def codes_of(model: LoadedModel, z: Tensor, z_t: Tensor) -> Codes:
    """Latent codes alone, for a model without encoders."""
    none = torch.empty(1, 0, device=model.device)
    return Codes(z, z_t, none, none)
