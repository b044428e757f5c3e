"""Validation errors of pydantic in words for people: what was found, and what is wanted."""

import json
from typing import Any

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
    "too_long": "at most {max_length} values",
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


def found(error: Any) -> str:
    """The value of one of the errors of a ValidationError."""
    return "nothing" if error["type"] == "missing" else shown(error["input"])


def wanted(error: Any) -> str:
    """What is wanted instead; "" where the message of a validator says so."""
    if error["type"] == "value_error":
        return ""
    own = str(error["msg"]).removeprefix("Input should be ")
    return _WANTED[error["type"]].format(**error.get("ctx", {})) if error["type"] in _WANTED else own


def in_words(error: Any) -> str:
    """The whole of one of the errors: the message of a validator, or what was found and what is wanted."""
    if error["type"] == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    return f"found {found(error)}, wanted {wanted(error)}"


def shown(value: Any) -> str:
    """A value from outside, as JSON or as text in quotes."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=repr, ensure_ascii=False)
    return text if len(text) <= MAX_FOUND else text[: MAX_FOUND - 1] + "…"
