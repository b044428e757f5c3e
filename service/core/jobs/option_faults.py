"""Options from values, and validation errors as faults, each with its field."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.core.sequences.errors import Fault
from service.core.validation import found, in_words, wanted

Kind = TypeVar("Kind", bound=BaseModel)


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
        return Fault(key=name, message=in_words(error), found="", wanted="")
    return validation_fault(name, error)


def validation_fault(key: str, error: Any) -> Fault:
    """The fault of the value `key` for one of the errors of a pydantic ValidationError."""
    if error["type"] == "extra_forbidden":
        return Fault(key=key, message=f"{key} is not known here", found=found(error), wanted="nothing")
    joint = " " if error["type"] == "value_error" else ": "
    message = f"{key}{joint}{in_words(error)}"
    return Fault(key=key, message=message, found=found(error), wanted=wanted(error))
