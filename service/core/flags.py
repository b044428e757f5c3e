"""Command-line flags: each field of an options model becomes one; `--version`; and errors in their values."""

import inspect
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from typer.core import TyperGroup

from service.core.jobs.option_faults import OptionsError, read_options
from service.core.validation import in_words
from service.core.version import VERSION


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(VERSION)
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
]


class Commands(TyperGroup):
    """The commands of a program, which words errors in the values of flags as the API does."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):  # typer checks values with pydantic
                error.message = in_words(error.__cause__.errors()[0])
            raise


def takes_options(kind: type[BaseModel]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each field of `kind`; the flags arrive validated, as the argument `options`.

    Fields that hold several values become repeatable flags in the singular: `formats` is `--format`. Only
    what was given is set (`model_dump(exclude_unset=True)`).
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        flags = [_parameter(name, field) for name, field in kind.model_fields.items()]

        def call(**arguments: Any) -> None:
            given = {name: arguments.pop(name) for name in kind.model_fields}
            try:
                options = read_options(kind, {k: v for k, v in given.items() if v is not None})
            except OptionsError as error:
                raise typer.BadParameter(str(error)) from None
            command(**arguments, options=options)

        call.__name__, call.__doc__ = command.__name__, command.__doc__
        parameters = [*(parameter for parameter in own if parameter.name != "options"), *flags]
        call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        )
        return call

    return decorate


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind, flag = _type(field.annotation), name.replace("_", "-")
    if get_origin(kind) is list:
        flag = flag.removesuffix("s")
    bounds = {
        side: getattr(rule, key)
        for rule in field.metadata
        for side, key in (("min", "ge"), ("max", "le"))
        if hasattr(rule, key)
    }
    option = typer.Option(f"--{flag}", help=_help(field), **bounds)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _type(annotation: Any) -> Any:
    """The type of one argument on a command line: JSON objects are text."""
    if get_origin(annotation) in (Union, UnionType):
        [annotation] = [part for part in get_args(annotation) if part is not NoneType]
    if get_origin(annotation) is tuple:
        return list[get_args(annotation)[0]]  # type: ignore[misc]
    return str if get_origin(annotation) is dict else annotation


def _help(field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, tuple):
        default = ", ".join(map(str, default))
    return f"{field.description} Default: {default}." if default else str(field.description)
