"""Draw the table of results in docs/quality.md as bars: `python -m tests.benchmarks.quality_plot`."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

DOCS = Path(__file__).parents[2] / "docs"
MEASURES = ("Chamfer distance x 10", "correspondence x 10")


def read_table(text: str, heading: str) -> tuple[list[str], dict[str, list[tuple[float, float]]]]:
    """The columns of pairs of numbers in the table under a heading, and the pairs of each row."""
    lines = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0].splitlines()
    cells = [
        [cell.strip(" *`") for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")
    ]
    head, _, *rows = cells
    columns = [n for n in range(len(head)) if sum(" / " in row[n] for row in rows) > len(rows) / 2]
    pairs = {row[0]: [_pair(row[n]) for n in columns] for row in rows}
    return [head[n] for n in columns], pairs


def _pair(cell: str) -> tuple[float, float]:
    """Both numbers of a cell, NaN where nothing was measured."""
    chamfer, divider, correspondence = cell.partition(" / ")
    return (float(chamfer), float(correspondence)) if divider else (np.nan, np.nan)


def main() -> None:
    regimes, rows = read_table((DOCS / "quality.md").read_text(), "Results")
    figure = Figure(figsize=(9, 5), layout="constrained")
    width = 0.85 / len(rows)
    for number, (axes, name) in enumerate(zip(figure.subplots(2, 1, sharex=True), MEASURES, strict=True)):
        for place, (subject, pairs) in enumerate(rows.items()):
            heights = [pair[number] for pair in pairs]
            axes.bar(np.arange(len(regimes)) + (place + 0.5) * width - 0.425, heights, width, label=subject)
        axes.set_ylabel(name)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    axes.set_xticks(range(len(regimes)), regimes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(DOCS / "images" / "quality.png", dpi=100)


if __name__ == "__main__":
    main()
