"""Locate server binaries on PATH or in the Python package that ships them."""

import importlib.metadata
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from service.local.errors import LocalStackError


def find_server(names: Sequence[str], *, package: str, hint: str) -> Path:
    """The first of `names` on PATH, or else in the installed `package`. Raises LocalStackError if missing."""
    for name in names:
        if on_path := shutil.which(name):
            return Path(on_path)
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in names and os.access(path := Path(str(file.locate())).resolve(), os.X_OK):
            return path
    raise LocalStackError(
        f"No {' or '.join(names)} found, neither on PATH nor in the Python package {package!r}. "
        f"Install it with your system's package manager or with pip install 'oflow[local]'{hint}."
    )


def bare_environment(**variables: str) -> dict[str, str]:
    """A minimal environment for a server, without settings or credentials from the user's shell."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return kept | variables
