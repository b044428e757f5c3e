"""docker-compose.yml as Compose reads it: variables filled in, merged, by service."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "VALKEY_PASSWORD": "a1" * 32,
    "OFLOW_S3_ACCESS_KEY_ID": "b2" * 16,
    "OFLOW_S3_SECRET_ACCESS_KEY": "c3" * 32,
}
# $$, or ${NAME}, ${NAME:-default}, ${NAME:?message}; a default may hold variables of its own.
VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>(?:[^${}]|\$\{[^{}]*\})*))?\}")


def interpolate(value: Any, environment: Mapping[str, str]) -> Any:
    """Fill in the variables of every string in `value`; ValueError where a required one has no value."""
    if isinstance(value, dict):
        return {key: interpolate(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item, environment) for item in value]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        given = environment.get(match["name"], "")
        if given or match["kind"] is None:
            return given
        if match["kind"] == "?":
            raise ValueError(f"{match['name']} {match['rest']}")
        return str(interpolate(match["rest"], environment))

    filled = VARIABLE.sub(fill, value)
    assert "${" not in filled, f"not understood: {value}"
    return filled


def raw() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def services(**environment: str) -> dict[str, Any]:
    """The services where .env holds three secrets and what is given here."""
    return dict(interpolate(raw()["services"], SECRETS | environment))


def variables(service: Mapping[str, Any], **environment: str) -> dict[str, str]:
    """What a container finds in its environment: a name without a value is there only if .env sets it."""
    given = {
        name: environment.get(name) if value is None else value
        for name, value in service["environment"].items()
    }
    return {name: value for name, value in given.items() if value is not None}


def example() -> dict[str, str]:
    """.env.example with its comments taken away, so that every setting it offers is set."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = [line.removeprefix("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_\d]+=", line)]
    return dict(pairs)


def settings_in(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> Settings:
    """The settings of a process with this environment; those of this shell do not reach it."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"OFLOW_{name.upper()}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings()  # type: ignore[call-arg]  # the required ones come from the environment
