"""`python -m tests.benchmarks.data`: training items a second from `.npz` frames, and packed.

Writes 6 sequences × 20 frames × 100,000 points (the sizes of the published data, 150 MB) to the temporary
folder, packs them, and reads the same items both ways: from memory, and with the files dropped from it. One
process reads.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from model import load_config
from worker.data import build_dataset
from worker.data.dataset import HumansDataset
from worker.data.pack import pack
from worker.data.packed import packed_folder
from worker.data.windows import open_frames

SEQUENCES, FRAMES, POINTS = 6, 20, 100_000
ITEMS, ROUNDS = 24, 5

console = Console(soft_wrap=True)


def write_sequence(sequence: Path, rng: np.random.Generator) -> None:
    """Random numbers in the published layout: how fast they are read does not depend on what they say."""
    for folder in ("pcl_seq", "points_seq"):
        (sequence / folder).mkdir(parents=True)
        for frame in range(FRAMES):
            arrays: dict[str, Any] = {
                "points": rng.random((POINTS, 3), np.float32).astype(np.float16) - np.float16(0.5)
            }
            if folder == "points_seq":
                arrays["occupancies"] = np.packbits(rng.random(POINTS) < 0.02)
            np.savez(sequence / folder / f"{frame:08d}.npz", **arrays, loc=np.zeros(3, np.float16), scale=1.8)


def dataset_of(root: Path) -> HumansDataset:
    data = {"path": str(root), "train_split": None, "offset_sequence": 0}
    config = load_config("pointcloud/oflow", {"data": data, "model": {"loss_corr": True}})
    dataset = build_dataset(config, "train")
    assert isinstance(dataset, HumansDataset)
    return dataset


def items_a_second(root: Path, seed: int, forget: bool) -> float:
    """Read items of a fresh data set, whose files are in memory already, or dropped from it."""
    dataset = dataset_of(root)
    if forget:
        open_frames.cache_clear()  # what is mapped cannot be dropped
        drop_from_memory(root)
    began = time.perf_counter()
    for index in range(ITEMS):
        dataset.sample((seed, index))
    return ITEMS / (time.perf_counter() - began)


def drop_from_memory(root: Path) -> None:
    for file in (*root.rglob("*.npz"), *root.rglob("*.npy")):
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def packed_aside(root: Path, aside: Path) -> None:
    """Move the packed folders out of the data set, or back, so that the same files serve both ways."""
    for folder in [*root.rglob("*.packed")] or [*aside.rglob("*.packed")]:
        base, target = (root, aside) if folder.is_relative_to(root) else (aside, root)
        place = target / folder.relative_to(base)
        place.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(place)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        root, aside = Path(directory, "data"), Path(directory, "aside")
        rng = np.random.default_rng(0)
        for number in track(range(SEQUENCES), "write", console=console, transient=True):
            write_sequence(root / "D-FAUST" / f"{number:05d}", rng)
        began = time.perf_counter()
        assert pack(root) == 0
        console.print(f"packed in {time.perf_counter() - began:.1f} s")
        assert packed_folder(root / "D-FAUST" / "00000" / "pcl_seq").is_dir()
        speeds: dict[tuple[bool, bool], list[float]] = {}
        for seed in track(range(ROUNDS), "read, in turn", console=console, transient=True):
            for packed in (True, False):
                items_a_second(root, seed, forget=False)  # into memory
                for forget in (False, True):
                    speeds.setdefault((packed, forget), []).append(items_a_second(root, seed, forget))
                packed_aside(root, aside)
    table = Table("files", ".npz", "packed", "times", title=f"Training items a second, median of {ROUNDS}")
    for forget, name in ((False, "in memory"), (True, "on disk")):
        slow, fast = speeds[False, forget], speeds[True, forget]
        ratio = statistics.median(p / n for p, n in zip(fast, slow, strict=True))
        row = (statistics.median(slow), statistics.median(fast), ratio)
        table.add_row(name, *(f"{value:.1f}" for value in row))
    console.print(table)


if __name__ == "__main__":
    main()
