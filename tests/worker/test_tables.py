"""Pickled tables, which the published tools open with a pandas and a numpy of their own."""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from worker.tables import write_pickle

# What has been importable under the same name since pandas 0.25 and numpy 1.16.
STABLE = {
    "pandas DataFrame",
    "pandas Index",
    "pandas.core.frame DataFrame",
    "pandas.core.indexes.base Index",
    "numpy array",
}


class Recorder(pickle.Unpickler):
    """Notes the functions and classes that a pickle refers to."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self.found: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.found.add(f"{module} {name}")
        return super().find_class(module, name)


def test_a_table_survives_without_the_insides_of_any_version(tmp_path: Path) -> None:
    codes = [np.arange(3, dtype=np.float32), np.ones(3, np.float32)]
    columns: dict[str, list[Any]] = {
        "model": ["50002_knees", "50004_hips"],
        "start_idx": [np.int64(15), np.int64(16)],
        "iou 0 (mesh)": [np.float64(0.25), float("nan")],
        "loc_z": codes,
    }
    write_pickle(tmp_path / "a.pkl", columns, [7, np.int64(9)], "idx")
    content = (tmp_path / "a.pkl").read_bytes()
    assert [argument for code, argument, _ in pickletools.genops(content) if code.name == "PROTO"] == [4]
    recorder = Recorder(content)
    table = recorder.load()
    assert recorder.found <= STABLE
    pd.testing.assert_frame_equal(table, pd.read_pickle(tmp_path / "a.pkl"))
    assert table.index.tolist() == [7, 9]
    assert table.index.name == "idx"
    assert table.dtypes["start_idx"] == np.int64
    assert table.dtypes["iou 0 (mesh)"] == np.float64
    assert np.isnan(table.loc[9, "iou 0 (mesh)"])
    # As the published tools look a code up.
    rows = table.loc[(table["model"] == "50002_knees") & (table["start_idx"] == 15)]
    code = rows["loc_z"].item()
    assert code.dtype == np.float32
    assert np.array_equal(code, codes[0])
