"""The error message of a command whose extra is not installed."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_OWN_PACKAGES = {"model", "service", "worker"}


@contextmanager
def needs(extra: str, other_extras: Mapping[str, str] | None = None) -> Iterator[None]:
    """Exit with one line that names the extra when a package is missing, in a block or as a decorator.

    `other_extras` maps import names of packages to the extra that installs them, where it is not `extra`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing in _OWN_PACKAGES:
            raise
        extra = (other_extras or {}).get(missing, extra)
        sys.stderr.write(f"This command needs {missing}: pip install 'oflow[{extra}]'\n")
        raise SystemExit(2) from None
