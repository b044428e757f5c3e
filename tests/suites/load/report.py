"""Reports: measured numbers and their targets."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Column, Table

console = Console(soft_wrap=True)


@dataclass(frozen=True)
class Row:
    """A number; `wanted` describes its target, `held` says whether it is met, None without a target."""

    name: str
    value: float
    unit: str
    wanted: str = ""
    held: bool | None = None


@dataclass
class Report:
    """A table. `load` describes the workload in a sentence."""

    title: str
    load: str
    rows: list[Row] = field(default_factory=list)

    def add(
        self, name: str, value: float, unit: str, *, below: float | None = None, at_least: float | None = None
    ) -> None:
        wanted, held = "", None
        if below is not None:
            wanted, held = f"under {below:g}", value < below
        if at_least is not None:
            wanted, held = f"at least {at_least:g}", value >= at_least
        self.rows.append(Row(name, value, unit, wanted, held))

    def add_times(self, name: str, seconds: Sequence[float], **wanted_median: float) -> None:
        """Three rows: median, 95th and 99th percentile, in milliseconds."""
        p50, p95, p99 = percentiles(seconds)
        self.add(f"{name}, median", 1e3 * p50, "ms", **wanted_median)
        self.add(f"{name}, 95 %", 1e3 * p95, "ms")
        self.add(f"{name}, 99 %", 1e3 * p99, "ms")

    @property
    def held(self) -> bool:
        return all(row.held is not False for row in self.rows)

    def print(self) -> None:
        table = Table(
            Column(no_wrap=True), "", "", "target", title=self.title, caption=self.load, title_justify="left"
        )
        table.columns[1].justify = "right"
        for row in self.rows:
            mark = "" if row.held is not False else " [red]missed[/]"
            table.add_row(row.name, f"{row.value:.4g}", row.unit, row.wanted + mark)
        console.print(table)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"held": self.held}


def percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Median, 95th and 99th percentile."""
    if len(seconds) == 1:
        return (seconds[0],) * 3
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98]
