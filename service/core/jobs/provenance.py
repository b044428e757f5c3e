"""What a result was made with."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from service.core.jobs.options import ReconstructionOptions
from service.core.model_info import ModelInfo
from service.core.version import VERSION


class Provenance(BaseModel):
    """What an attempt runs with, and what makes the same result again."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    model: str
    checkpoint_sha256: str
    version: str
    """The worker's release."""
    options: dict[str, Any]
    """All that shape the result, including the defaults of the release and the model."""

    @classmethod
    def of(cls, options: Mapping[str, Any], loaded: ModelInfo) -> Self:
        """That of a job with these options, run by a worker of this release that has loaded the model."""
        known = {"resolution": loaded.resolution, "threshold": loaded.threshold}
        own = {name: value for name, value in options.items() if name in ReconstructionOptions.model_fields}
        return cls(
            model=loaded.name,
            checkpoint_sha256=loaded.checkpoint_sha256,
            version=VERSION,
            options=known | own,
        )
