"""Options on a command line."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from service.core.flags import Commands, takes_options
from service.core.jobs.formats import Format
from service.core.jobs.options import Options


class Shade(StrEnum):
    LIGHT = "light"
    DARK = "dark"


class Toy(BaseModel):
    formats: Annotated[tuple[Format, ...], Field(min_length=1, description="Files.")] = (Format.GLB,)
    rows: Annotated[int | None, Field(ge=2, le=9, description="Rows.")] = None
    share: Annotated[float | None, Field(gt=0, lt=1, description="Share.")] = None
    shade: Annotated[Shade, Field(description="Shade.")] = Shade.LIGHT
    mode: Annotated[Literal["auto", "off"], Field(description="Mode.")] = "auto"
    deep: Annotated[bool, Field(description="Deep.")] = False
    some_name: Annotated[str | None, Field(description="Name.")] = None


def run(kind: type[BaseModel], *arguments: str) -> tuple[int, str, list[Any]]:
    app, seen = typer.Typer(cls=Commands), []

    @app.callback()
    def root() -> None:
        pass

    @app.command()
    @takes_options(kind)
    def command(source: Annotated[Path, typer.Argument()], options: BaseModel) -> None:
        """Do it."""
        seen.append((source, options.model_dump(exclude_unset=True)))

    result = CliRunner().invoke(app, ["command", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output, seen


def test_only_what_was_given_is_set_and_has_its_type() -> None:
    assert run(Toy, "in")[2] == [(Path("in"), {})]
    flags = "in --rows 3 --share 0.5 --shade dark --mode off --deep --some-name x --format npz --format obj"
    given = {"rows": 3, "share": 0.5, "shade": Shade.DARK, "mode": "off", "deep": True, "some_name": "x"}
    assert run(Toy, *flags.split())[2] == [(Path("in"), given | {"formats": (Format.NPZ, Format.OBJ)})]


def test_help_has_values_bounds_and_defaults() -> None:
    told = run(Toy, "--help")[1]
    for words in ("|".join(Format), "2<=x<=9", "light|dark", "auto|off", "Default: light.", "Do it."):
        assert words in told


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--rows 1", "'--rows': found '1', wanted at least 2"),
        ("--rows many", "'--rows': found 'many', wanted a whole number"),
        ("--share 1", "share: found 1.0, wanted less than 1"),
        ("--shade blue", "'--shade': 'blue' is not one of 'light', 'dark'"),
        ("--mode on", "'--mode': 'on' is not one of 'auto', 'off'"),
        ("--format fbx", "'--format': 'fbx' is not one of"),
        ("--hue 4", "--hue"),
    ],
)
def test_refusals_name_the_flag(flags: str, words: str) -> None:
    code, told, seen = run(Toy, "in", *flags.split())
    assert (code, seen) == (2, [])
    assert words in told


def test_every_option_of_a_job_is_a_flag() -> None:
    told = run(Options, "--help")[1]
    for name in Options.model_fields.keys() - {"formats"} | {"format"}:
        assert f"--{name.replace('_', '-')} " in told
    assert run(Options, "in", "--metadata", '{"take": 4}')[2] == [(Path("in"), {"metadata": {"take": 4}})]
