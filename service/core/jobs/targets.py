"""Where a command writes its results: decided and checked before any work begins."""

import os
from collections.abc import Sequence
from pathlib import Path

from service.core.jobs.formats import Format

SUFFIXES = ", ".join(file_format.suffix for file_format in Format)


class TargetError(Exception):
    """Results cannot be written where they were asked for."""


def plan_targets(
    out: Path | None, formats: Sequence[Format], *, stem: str, source: Path | None = None
) -> dict[Format, Path]:
    """The file for each format; without `formats`, the name of `out` decides, and else it is a GLB.

    `out` is a file, or a folder for files named `stem`; without it they go beside `source`, the input.
    Creates missing folders. Raises TargetError for a name that does not suit its format, a file that would
    replace the input, and a folder that cannot be written.
    """
    if out is not None and not out.is_dir() and len(formats) < 2:
        file_format = _format_of(out, formats)
        targets = {file_format: out}
        if _same(out, source):
            raise TargetError(f"{out} is the input and would be overwritten: choose another name")
    else:
        folder = out if out is not None else source.parent if source is not None else Path()
        targets = {}
        for file_format in formats or [Format.GLB]:
            target = folder / f"{stem}{file_format.suffix}"
            taken = _same(target, source)
            targets[file_format] = target.with_name(f"{stem}.mesh{file_format.suffix}") if taken else target
    for target in targets.values():
        _require_writable(target)
    return targets


def _format_of(target: Path, formats: Sequence[Format]) -> Format:
    name = target.name.lower()
    named = [file_format for file_format in Format if name.endswith(file_format.suffix)]
    if formats:
        [wanted] = formats
        if named == [wanted] or (not named and target.suffix.lower() == Path(wanted.suffix).suffix):
            return wanted
        raise TargetError(
            f"{target.name} is not a valid name for a {wanted} file: expected one ending in {wanted.suffix}"
        )
    if named:
        return named[0]
    if target.suffix.lower() == ".zip":
        return Format.OBJ
    raise TargetError(f"{target.name} ends in {target.suffix!r}: expected {SUFFIXES}, or an existing folder")


def _same(target: Path, source: Path | None) -> bool:
    return source is not None and target.exists() and target.samefile(source)


def _require_writable(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(f"{target.parent} cannot be created: {error.strerror}") from None
    if target.is_dir():
        raise TargetError(f"{target} is a folder: expected a file name")
    if not os.access(target.parent, os.W_OK):
        raise TargetError(f"{target.parent} cannot be written to: choose another place")
