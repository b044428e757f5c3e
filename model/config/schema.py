"""Typed settings of an experiment, read from YAML with the published names and keys.

A file inherits from the parent named by `inherit_from`, or from `configs/default.yaml`: sections are merged
and its own keys override.
"""

from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, ValidationError

from model.config.conflicts import find_conflict
from model.config.files import find_config, holder, merge, read_inherited
from model.config.messages import explain
from model.config.names import MethodName
from model.config.sections import (
    DataConfig,
    GenerationConfig,
    ModelConfig,
    Section,
    TestConfig,
    TrainingConfig,
)
from model.errors import ConfigError


class Config(Section):
    """All settings of an experiment; `path` is its file and `name` its display name."""

    method: MethodName
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    test: TestConfig
    generation: GenerationConfig

    _path: Path = PrivateAttr()

    @property
    def path(self) -> Path:
        return self._path

    @property
    def name(self) -> str:
        """`pointcloud/oflow` for configs/pointcloud/oflow.yaml; the stem outside of a configs folder."""
        folder = holder(self._path)
        inside = self._path.relative_to(folder / "configs") if folder else Path(self._path.name)
        return inside.with_suffix("").as_posix()

    def checkpoint_path(self) -> Path | None:
        """The file of `test.model_file`, in `training.out_dir` or next to the config; None if absent."""
        places = (Path(self.training.out_dir), self._path.parent)
        found = (place / self.test.model_file for place in places if (place / self.test.model_file).is_file())
        return next((file.resolve() for file in found), None)

    def initialization_path(self) -> Path | None:
        """The file `model.initialize_from`, or `model.initialization_file_name` in a folder of that name.

        Relative to the working directory or to the config. None if it is null.
        """
        if (given := self.model.initialize_from) is None:
            return None
        named = (Path(given), self._path.parent / given)
        found = [place / self.model.initialization_file_name if place.is_dir() else place for place in named]
        return next((file for file in found if file.is_file()), found[0])


def load_config(path: str | Path, overrides: dict[str, Any] | None = None) -> Config:
    """Read a config by path or name (`bodies`, `pointcloud/oflow`); `overrides` replace values of the file.

    Raises ConfigError, which lists every unknown key, wrong type and missing key by its dotted name.
    """
    file = find_config(path)
    values = merge(read_inherited(file), overrides or {})
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{file}: " + "; ".join(explain(item, Config) for item in error.errors())) from None
    if conflict := find_conflict(config):
        raise ConfigError(f"{file}: {conflict}")
    config._path = file
    return config
