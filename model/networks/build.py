"""Building the parts of a network that a config names."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from model.config.schema import Config
from model.errors import ConfigError

Part = TypeVar("Part")


def required_part(
    config: Config, key: str, registry: Mapping[str, Callable[..., Part]], sizes: dict[str, Any]
) -> Part:
    """`optional_part`, raising ConfigError if it is null."""
    if (part := optional_part(config, key, registry, sizes)) is None:
        raise ConfigError(f"model.{key} is null; method {config.method} needs one: {', '.join(registry)}")
    return part


def optional_part(
    config: Config, key: str, registry: Mapping[str, Callable[..., Part]], sizes: dict[str, Any]
) -> Part | None:
    """Build the part named by `model.<key>` from `sizes` and `model.<key>_kwargs`; None if it is null.

    Raises ConfigError for unknown names and for unknown, missing or ill-typed options.
    """
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
        if not isinstance(value, expected := accepted[option].annotation):
            raise ConfigError(
                f"model.{key}_kwargs.{option}: found {value!r}, wanted "
                f"{getattr(expected, '__name__', expected)}"
            )
    arguments = {**sizes, **kwargs}
    for option, parameter in accepted.items():
        if parameter.default is parameter.empty and option not in arguments:
            raise ConfigError(f"model.{key}_kwargs.{option} is missing, which {name} needs")
    return registry[name](**arguments)


def embedding_options(config: Config, key: str) -> dict[str, Any]:
    """Options of an encoder `idx` besides its size; none for other encoders."""
    is_embedding = getattr(config.model, key) == "idx"
    return {"learn_embedding": config.model.learn_embedding} if is_embedding else {}
