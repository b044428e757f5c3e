"""YAML files of experiments: lookup by name or path, inheritance by `inherit_from`, and merging."""

import re
from pathlib import Path
from typing import Any

import yaml

from model.errors import ConfigError

BUNDLE = (
    Path(__file__).resolve().parent.parent.parent
)  # the folder that holds configs/, in a checkout and in a wheel
DEFAULT = BUNDLE / "configs" / "default.yaml"  # lies beneath every config


def find_config(path: str | Path) -> Path:
    """The file of a config, given by name (`bodies`) or by a path relative to the current or project folder.

    Raises ConfigError if there is none.
    """
    for file in (BUNDLE / "configs" / f"{path}.yaml", Path(path), BUNDLE / path):
        if file.is_file():
            return file.resolve()
    known = ", ".join(config_names())
    raise ConfigError(f"no config {str(path)!r}: it is neither a file nor one of the known names {known}")


def config_names() -> list[str]:
    """Names of the configs shipped with the project."""
    folder = BUNDLE / "configs"
    files = sorted(folder.rglob("*.yaml"))
    return [file.relative_to(folder).with_suffix("").as_posix() for file in files if file.stem != "default"]


def holder(file: Path) -> Path | None:
    """The parent of the `configs` folder that contains a file; None outside of one."""
    return next((folder.parent for folder in file.parents if folder.name == "configs"), None)


def read_inherited(file: Path, children: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a file, merged over those of its parents. Raises ConfigError for circular inheritance."""
    if file in children:
        raise ConfigError("circular inheritance of configs: " + " → ".join(map(str, (*children, file))))
    own = _read(file)
    parent = _parent(file, own.pop("inherit_from", None))
    return merge(read_inherited(parent, (*children, file)), own) if parent else own


def _parent(file: Path, inherit_from: object) -> Path | None:
    # The implicit default.yaml is not looked up in the working directory: it may be another project's.
    roots = [root for root in (holder(file), BUNDLE) if root]
    if inherit_from is None:
        if file == DEFAULT:
            return None
        # That of another checkout, such as the published one, knows only some of the keys.
        if file.name == DEFAULT.name and file.parent.name == "configs":
            return DEFAULT
        inherit_from = "configs/default.yaml"
    elif not isinstance(inherit_from, str):
        raise ConfigError(f"{file}: inherit_from: found {inherit_from!r}, wanted the path of a YAML file")
    else:
        roots.insert(0, Path.cwd())
    for name in (inherit_from, f"configs/{inherit_from}.yaml"):
        for root in roots:
            if (parent := (root / name).resolve()).is_file():
                return parent
    tried = ", ".join(str(root) for root in roots)
    raise ConfigError(f"{file}: inherit_from: no file or config {inherit_from} in {tried}")


def _read(file: Path) -> dict[str, Any]:
    try:
        values = parse_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read as YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: found {type(values).__name__}, wanted sections of keys")
    return values


def parse_yaml(text: str) -> Any:
    """Parse safe YAML; 1e-4 is a number and duplicate keys are errors. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader  # nosec B506


def merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Merge `own` over `base` recursively."""
    merged = dict(base)
    for key, value in own.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"the key {key} is given twice, from line {node.start_mark.line + 1} on")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)
