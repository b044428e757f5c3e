"""How good the frames of a sequence are, from the first to the last."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from worker.evaluation.report import headline
from worker.evaluation.scores import Row


def plot_over_time(rows: Sequence[Row], frames: int, kind: str, title: str, path: Path) -> None:
    """Draw IoU, Chamfer and correspondence of each frame as a PNG, a line a class; what was not measured is
    left out.
    """
    classes = sorted({str(row["class id"]) for row in rows})
    lines = {
        name: [
            headline([row for row in rows if row["class id"] == name], kind, frame) for frame in range(frames)
        ]
        for name in classes
    }
    measured = [
        key for key in headline(rows, kind, 0) if any(line[0][key] == line[0][key] for line in lines.values())
    ]
    figure = Figure(figsize=(4.2 * len(measured), 3.4), layout="constrained")
    figure.suptitle(title)
    for axes, key in zip(figure.subplots(1, len(measured), squeeze=False)[0], measured, strict=True):
        for name, line in lines.items():
            axes.plot(range(frames), [scores[key] for scores in line], marker=".", label=name)
        axes.set(xlabel="frame", ylabel=key)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    if len(classes) > 1:
        figure.axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
