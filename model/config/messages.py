"""Error messages for invalid configs."""

from difflib import get_close_matches

import yaml
from pydantic import BaseModel
from pydantic_core import ErrorDetails

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a section of keys",
    "model_type": "a section of keys",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "too_short": "{min_length} or more values",
    "too_long": "{max_length} or fewer values",
}


def explain(error: ErrorDetails, schema: type[BaseModel]) -> str:
    """Describe an error of `schema`: the dotted key, what was found, what is wanted."""
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"unknown key {key}{_suggestion(key, _keys(schema))}"
    if error["type"] == "missing":
        return f"{key} is missing"
    wanted = _WANTED.get(error["type"], "").format(**error.get("ctx", {}))
    wanted = wanted or error["msg"].removeprefix("Input should be ")
    found = yaml.safe_dump(error["input"], default_flow_style=True).removesuffix("...\n").strip()
    return f"{key}: found {found}, wanted {wanted}"


def _keys(schema: type[BaseModel], section: str = "") -> dict[str, list[str]]:
    """Keys of each section by its dotted name; the top level is named ''."""
    keys = {section: list(schema.model_fields)}
    for name, field in schema.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys |= _keys(field.annotation, f"{section}.{name}" if section else name)
    return keys


def _suggestion(key: str, keys: dict[str, list[str]]) -> str:
    """The most similar known key, first in the same section, then in any other."""
    section, _, name = key.rpartition(".")
    siblings = keys[section] if section else [*keys[""], "inherit_from"]
    elsewhere = {leaf: f"{other}.{leaf}" for other, leaves in keys.items() if other for leaf in leaves}
    if not (near := get_close_matches(name, siblings, n=1, cutoff=0.75)):
        near = [elsewhere[leaf] for leaf in get_close_matches(name, elsewhere, n=1, cutoff=0.75)]
    elif section:
        near = [f"{section}.{near[0]}"]
    return f" (did you mean {near[0]}?)" if near else ""
