"""What is written states the release, also where the code lies beside its packages, as in the images."""

import importlib.metadata
import json
from pathlib import Path

import pytest

from model.config.schema import load_config
from service.core.version import VERSION
from worker.data.recipe import RECIPE, keep_recipe
from worker.training.run_folder import RunFolder


def _find_none(_name: str) -> importlib.metadata.Distribution:
    raise importlib.metadata.PackageNotFoundError


def test_the_release_is_known_without_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata.Distribution, "from_name", _find_none)
    keep_recipe(tmp_path, {"seed": 0})
    assert json.loads((tmp_path / RECIPE).read_text())["version"] == VERSION
    assert RunFolder(load_config("training/smoke")).code_version.startswith(VERSION)
