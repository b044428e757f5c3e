"""Names that a config may use; methods, and the datasets that they read, can be registered at run time."""

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from model.methods import METHODS


def _known_method(name: str) -> str:
    return _one_of(name, list(METHODS))


def _known_dataset(name: str) -> str:
    return _one_of(name, list(dict.fromkeys(name for method in METHODS.values() for name in method.datasets)))


def _one_of(name: str, known: list[str]) -> str:
    """`name` if it is among the `known`, which can grow at run time; a Literal otherwise."""
    if name in known:
        return name
    *others, last = (repr(other) for other in known)
    expected = f"{', '.join(others)} or {last}" if others else last
    raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})


MethodName = Annotated[str, AfterValidator(_known_method)]
DatasetName = Annotated[str, AfterValidator(_known_dataset)]
