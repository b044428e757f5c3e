"""What a command says when the packages of its extra are not installed."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

OURS = {"model", "service", "worker"}


@contextmanager
def needs(extra: str, instead: Mapping[str, str] | None = None) -> Iterator[None]:
    """Exit with one line that names the extra when a package is missing, in a block or as a decorator.

    `instead` holds packages that come with another extra, by the name they are imported by.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing in OURS:
            raise
        extra = (instead or {}).get(missing, extra)
        sys.stderr.write(f"This command needs {missing}: pip install 'oflow[{extra}]'\n")
        raise SystemExit(2) from None
