"""Encoders `idx`, which hold a code for each sequence that they learn, and so have the size of their data."""

from collections.abc import Mapping

from torch import Tensor

from model.config.schema import Config
from model.errors import CheckpointError

ENCODERS = ("encoder", "encoder_temporal")
COUNT = "num_embeddings"


def unsized_embeddings(config: Config) -> list[str]:
    """The encoders `idx` of a config that does not say how many sequences there are."""
    model = config.model
    return [
        key
        for key in ENCODERS
        if getattr(model, key) == "idx" and COUNT not in getattr(model, f"{key}_kwargs")
    ]


def with_embeddings(config: Config, count: int) -> Config:
    """The config with room for `count` sequences where it does not say how many there are."""
    sized = {
        f"{key}_kwargs": getattr(config.model, f"{key}_kwargs") | {COUNT: count}
        for key in unsized_embeddings(config)
    }
    return config.model_copy(update={"model": config.model.model_copy(update=sized)})


def with_embeddings_of(config: Config, state: Mapping[str, Tensor]) -> Config:
    """The config with room for as many sequences as a state_dict holds."""
    for key in unsized_embeddings(config):
        names = (f"{key}.weight", f"{key}.0.weight")  # the latter with model.learn_embedding
        if not (found := [state[name] for name in names if name in state]):
            raise CheckpointError(f"the checkpoint holds no {names[0]}, which {config.name} reads (idx)")
        return with_embeddings(config, len(found[0]))
    return config
