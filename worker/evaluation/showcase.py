"""The folder `vis`: the first outputs of every class side by side, under the published names."""

import os
import shutil
from pathlib import Path

from worker.data.windows import Window
from worker.evaluation.layout import GenerationFolder, class_name


def show(folder: GenerationFolder, window: Window, position: int) -> None:
    """Put the files of a window, the `position`-th of its class from 0 on, into the folder `vis`."""
    name = class_name(window.sequence.parent)
    category = window.category if name == "n/a" else f"{window.category}_{name.split(',')[0]}"
    target = folder.root / "vis" / category
    target.mkdir(parents=True, exist_ok=True)
    kind, ending = ("mesh", "off") if folder.kind == "meshes" else ("pcl", "ply")
    for number, file in enumerate(sorted(folder.results(window).glob(f"*.{ending}"))):
        _link(file, target / f"{position:02d}_{kind}_{number:03d}.{ending}")
    for number, file in enumerate(sorted(folder.inputs(window).glob("*.ply"))):
        _link(file, target / f"{position:02d}_in_{number}.ply")


def _link(file: Path, target: Path) -> None:
    """A hard link, which takes no space, where the file system has them."""
    target.unlink(missing_ok=True)
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
