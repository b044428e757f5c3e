"""Functions compiled to machine code, for loops that numpy cannot express well.

They take contiguous float64 and int64 arrays, so that each is compiled once, and release the interpreter's
lock.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Function = TypeVar("Function", bound=Callable[..., Any])
FASTMATH = {"contract", "reassoc", "arcp", "nsz"}  # NaN and infinity keep their meaning


def compiled(function: Function) -> Function:
    """Compile on the first call; keep the machine code on disk where there is a place to write it.

    It is compiled anew after a change of the function's own file only, not of the compiled functions in other
    files that it calls: whoever changes these deletes `__pycache__/*.nb[ic]`.
    """
    # A check of every division would keep loops from being vectorized.
    options: dict[str, Any] = {"nogil": True, "fastmath": FASTMATH, "error_model": "numpy"}
    try:
        return cast(Function, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # a read-only installation without a home: compiled anew in each process
        return cast(Function, numba.njit(**options)(function))
