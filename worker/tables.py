"""Tables as pickles for the published tools, whose pandas may be of any year.

What `DataFrame.to_pickle` writes is the inner state of one version of pandas, which others cannot read. These
pickles call the constructors instead: pandas 0.25 to 3 read them, with numpy 1 or 2.
"""

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PROTOCOL = 4  # of Python 3.4 and later


def write_pickle(
    path: Path, columns: Mapping[str, Sequence[Any]], index: Sequence[Any], index_name: str
) -> None:
    """Write a DataFrame of columns of strings, numbers or arrays, as long as its index."""
    data = {name: [_portable(value) for value in column] for name, column in columns.items()}
    rows = _Call(pd.Index, [_portable(value) for value in index], None, False, index_name)
    path.write_bytes(pickle.dumps(_Call(pd.DataFrame, data, rows), PROTOCOL))


class _Call:
    """What unpickles to the result of a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def _portable(value: Any) -> Any:
    """Built-in types for numpy's, which are pickled under names that differ between numpy 1 and 2."""
    if isinstance(value, np.ndarray):
        return _Call(np.array, value.tolist(), value.dtype.name)
    return value.item() if isinstance(value, np.generic) else value
