"""Reading options, and telling every fault of them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.core.sequences.errors import Fault

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
    found = repr(error["input"])[:100] if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        known = ", ".join(kind.model_fields)
        return Fault(key=name, message=f"{name} is not an option", found=name, wanted=f"one of {known}")
    message = str(error["msg"])
    if error["type"] == "value_error":
        own = message.removeprefix("Value error, ")
        return Fault(key=name, message=f"{name} {own}" if error["loc"] else own, found=found, wanted="")
    wanted = message.removeprefix("Input should be ")
    return Fault(key=name, message=f"{name}: found {found}, wanted {wanted}", found=found, wanted=wanted)
