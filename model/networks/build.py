"""From a config to its untrained network."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from model.config.schema import Config
from model.errors import ConfigError
from model.flow.ode import training_solver
from model.flow.torchdiffeq_solver import TorchdiffeqSolver
from model.networks.baselines import POINT_SET_DECODERS, OccupancyNetwork4D, PointSetGeneration4D
from model.networks.decoders import DECODERS
from model.networks.encoders import SPATIAL, TEMPORAL
from model.networks.latent_encoders import LATENT
from model.networks.occupancy_flow import OccupancyFlow
from model.networks.velocity_field import VELOCITY_FIELDS

Network = OccupancyFlow | OccupancyNetwork4D | PointSetGeneration4D
Part = TypeVar("Part")


def build_model(config: Config) -> Network:
    """The untrained network of a config's method, on the CPU. Raises ConfigError for unknown parts."""
    return METHODS[config.method](config)


def _occupancy_flow(config: Config) -> OccupancyFlow:
    settings = config.model
    part = partial(_optional, config)
    code, codes = {"c_dim": settings.c_dim}, {"c_dim": settings.c_dim, "z_dim": settings.z_dim}
    if settings.z_dim and not settings.encoder_latent:
        raise ConfigError(
            f"model.z_dim is {settings.z_dim} and model.encoder_latent is null; wanted both or neither"
        )
    return OccupancyFlow(
        decoder=part("decoder", DECODERS, {**codes, "dim": config.data.dim}),
        encoder=part("encoder", SPATIAL, code | _embedding(config, "encoder")),
        encoder_temporal=part("encoder_temporal", TEMPORAL, code | _embedding(config, "encoder_temporal")),
        encoder_latent=part("encoder_latent", LATENT, codes),
        encoder_latent_temporal=part("encoder_latent_temporal", LATENT, codes),
        vector_field=_needed(config, "velocity_field", VELOCITY_FIELDS, codes),
        solver=TorchdiffeqSolver.from_config(settings),
        training_solver=training_solver(config),
    )


def _occupancy_network_4d(config: Config) -> OccupancyNetwork4D:
    code, codes = {"c_dim": config.model.c_dim}, {"c_dim": config.model.c_dim, "z_dim": config.model.z_dim}
    return OccupancyNetwork4D(
        decoder=_needed(config, "decoder", DECODERS, {**codes, "dim": config.data.dim + 1}),
        encoder_temporal=_optional(config, "encoder_temporal", TEMPORAL, code),
        encoder_latent=_optional(config, "encoder_latent", LATENT, codes),
    )


def _point_set_generation_4d(config: Config) -> PointSetGeneration4D:
    code = {"c_dim": config.model.c_dim}
    return PointSetGeneration4D(
        decoder=_needed(config, "decoder", POINT_SET_DECODERS, {**code, "dim": config.data.dim}),
        encoder=_needed(config, "encoder", TEMPORAL, code),  # this method's encoder reads whole sequences
    )


METHODS: dict[str, Callable[[Config], Network]] = {
    "oflow": _occupancy_flow,
    "onet4d": _occupancy_network_4d,
    "psgn4d": _point_set_generation_4d,
}


def _embedding(config: Config, key: str) -> dict[str, Any]:
    """What an embedding is given beside its size."""
    is_embedding = getattr(config.model, key) == "idx"
    return {"learn_embedding": config.model.learn_embedding} if is_embedding else {}


def _needed(
    config: Config, key: str, registry: Mapping[str, Callable[..., Part]], given: dict[str, Any]
) -> Part:
    if (part := _optional(config, key, registry, given)) is None:
        raise ConfigError(f"model.{key} is null; method {config.method} needs one: {', '.join(registry)}")
    return part


def _optional(
    config: Config, key: str, registry: Mapping[str, Callable[..., Part]], given: dict[str, Any]
) -> Part | None:
    """The part that `model.<key>` names, of sizes `given` and `model.<key>_kwargs`; None where it is null."""
    name, kwargs = getattr(config.model, key), getattr(config.model, f"{key}_kwargs")
    if name is None:
        return None
    if name not in registry:
        raise ConfigError(f"model.{key}: {name} is not available; available: {', '.join(registry)}")
    accepted = inspect.signature(registry[name]).parameters
    for option, value in kwargs.items():
        if option not in accepted:
            raise ConfigError(
                f"model.{key}_kwargs.{option}: {name} has no such option; it has {', '.join(accepted)}"
            )
        if not isinstance(value, wanted := accepted[option].annotation):
            raise ConfigError(
                f"model.{key}_kwargs.{option}: found {value!r}, wanted {getattr(wanted, '__name__', wanted)}"
            )
    complete = {**given, **kwargs}
    for option, parameter in accepted.items():
        if parameter.default is parameter.empty and option not in complete:
            raise ConfigError(f"model.{key}_kwargs.{option} is missing, which {name} needs")
    return registry[name](**complete)
