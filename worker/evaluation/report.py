"""Tables of scores and of the time that generating took: files for the published tools, and one to read."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.table import Table

from worker.evaluation.scores import Row
from worker.tables import write_pickle

LABELS = ("class id", "class name", "modelname")  # columns that have no mean


def save_scores(rows: Sequence[Row], folder: Path, stem: str) -> None:
    """Write `<stem>_full.pkl`, a pandas table with a row a window, and `<stem>.csv`, its means by class."""
    folder.mkdir(parents=True, exist_ok=True)
    table = _table(rows)
    _write(table, folder / f"{stem}_full.pkl")
    _means(table).to_csv(folder / f"{stem}.csv")


def save_timings(rows: Sequence[Row], folder: Path) -> None:
    """Write seconds as `time_generation_full.pkl`, a row a window, and means by class as .pkl and .csv."""
    folder.mkdir(parents=True, exist_ok=True)
    table = _table(rows)
    means = _means(table.drop(columns="start_idx"))
    _write(table, folder / "time_generation_full.pkl")
    _write(means, folder / "time_generation.pkl")
    means.to_csv(folder / "time_generation.csv")


def _table(rows: Sequence[Row]) -> pd.DataFrame:
    return pd.DataFrame(list(rows)).set_index("idx").sort_index()


def _means(table: pd.DataFrame) -> pd.DataFrame:
    numbers = [name for name in table.columns if name not in LABELS]
    return table.groupby("class name")[numbers].mean()


def _write(table: pd.DataFrame, path: Path) -> None:
    columns = {str(name): table[name].tolist() for name in table.columns}
    write_pickle(path, columns, table.index.tolist(), str(table.index.name))


def headline(rows: Sequence[Row], kind: str = "mesh", frame: int | None = None) -> dict[str, float]:
    """What published tables give, the means over all rows, of one frame or of all; NaN where not measured.

    Chamfer × 10 there is ten times the mean of accuracy and completeness.
    """
    where = f" {frame}" if frame is not None else ""

    def mean(key: str) -> float:
        values = pd.Series([row.get(f"{key}{where} ({kind})") for row in rows], dtype=float)
        return float(values.mean())

    return {
        "IoU": mean("iou"),
        "Chamfer x 10": 10 * (mean("accuracy") + mean("completeness")) / 2,
        "correspondence x 10": 10 * mean("l2"),
    }


def score_table(rows: Sequence[Row], kind: str, title: str) -> Table:
    """The headline numbers by class, and their means over all windows."""
    table = Table("class", "windows", title=title)
    for name in ("IoU at t = 0", *headline(rows, kind)):
        table.add_column(name, justify="right")
    groups = {str(row["class id"]): None for row in rows}
    for group in groups:
        members = [row for row in rows if row["class id"] == group]
        table.add_row(group, str(len(members)), *_cells(members, kind))
    if len(groups) > 1:
        table.add_section()
        table.add_row("all", str(len(rows)), *_cells(rows, kind))
    return table


def _cells(rows: Sequence[Row], kind: str) -> list[str]:
    values = (headline(rows, kind, 0)["IoU"], *headline(rows, kind).values())
    return ["-" if value != value else f"{value:.4f}" for value in values]
