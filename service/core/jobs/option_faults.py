"""Validation errors as faults for people: what was found, and what is wanted."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.core.sequences.errors import Fault

Kind = TypeVar("Kind", bound=BaseModel)
MAX_FOUND = 100  # characters

# What is wanted, by the type of pydantic's error and with its context; other types say it in their message.
_WANTED = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "string_too_short": "{min_length} or more characters",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "too_short": "{min_length} or more values",
    "json_invalid": "JSON",
    "missing": "a value",
} | {
    error: wanted
    for wanted, errors in {
        "a whole number": ("int_type", "int_parsing", "int_parsing_size", "int_from_float"),
        "a number": ("float_type", "float_parsing"),
        "true or false": ("bool_type", "bool_parsing"),
        "a string": ("string_type",),
        "a list": ("tuple_type", "list_type"),
        "an object": ("dict_type", "model_type", "model_attributes_type"),
    }.items()
    for error in errors
}


class OptionsError(Exception):
    """Options that are not valid, with every fault."""

    code = "invalid_options"

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("\n".join(map(str, faults)))


def read_options(kind: type[Kind], values: Mapping[str, Any], faults: Sequence[Fault] = ()) -> Kind:
    """Options from values by name; every fault at once, each naming its field, after those given."""
    try:
        options = kind.model_validate(values)
    except ValidationError as error:
        # the first of each field
        by_field = {str(e["loc"][:1]): _fault(kind, e) for e in reversed(error.errors())}
        raise OptionsError([*faults, *list(by_field.values())[::-1]]) from None
    if faults:
        raise OptionsError(list(faults))
    return options


def _fault(kind: type[BaseModel], error: Any) -> Fault:
    name = str(error["loc"][0]) if error["loc"] else "options"
    if error["type"] == "extra_forbidden":
        known = ", ".join(kind.model_fields)
        return Fault(key=name, message=f"{name} is not an option", found=name, wanted=f"one of {known}")
    if error["type"] == "value_error" and not error["loc"]:  # of all together
        return Fault(key=name, message=_own(error), found="", wanted="")
    return validation_fault(name, error)


def validation_fault(key: str, error: Any) -> Fault:
    """The fault of the value `key` for one of the errors of a pydantic ValidationError."""
    kind, context = error["type"], error.get("ctx", {})
    found = "nothing" if kind == "missing" else shown(error["input"])
    if kind == "value_error":
        return Fault(key=key, message=f"{key} {_own(error)}", found=found, wanted="")
    if kind == "extra_forbidden":
        return Fault(key=key, message=f"{key} is not known here", found=found, wanted="nothing")
    own = str(error["msg"]).removeprefix("Input should be ")
    wanted = _WANTED[kind].format(**context) if kind in _WANTED else own
    return Fault(key=key, message=f"{key}: found {found}, wanted {wanted}", found=found, wanted=wanted)


def _own(error: Any) -> str:
    """The message of a validator of this project."""
    return str(error["msg"]).removeprefix("Value error, ")


def shown(value: Any) -> str:
    """A value from outside, as JSON or as text in quotes."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=repr, ensure_ascii=False)
    return text if len(text) <= MAX_FOUND else text[: MAX_FOUND - 1] + "…"
