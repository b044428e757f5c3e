"""Less memory for the same work."""

import ctypes
import os

ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h


def share_arenas(count: int = 2) -> bool:
    """Let threads share that many arenas of glibc's malloc, so that one can use what another has freed.

    To be called before there are threads. Returns whether it was done: not where there is no glibc, nor where
    MALLOC_ARENA_MAX is set.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(ARENA_MAX, count))
    except (AttributeError, OSError, TypeError):
        return False
