"""The sequences of a data set, and the windows of successive frames that are learnt from."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.config.sections import DataConfig
from model.reconstruction.normalization import UnitBox
from worker.data.errors import DataError
from worker.data.frames import Frame, Frames, NpzFrames
from worker.data.packed import AGAIN, PackedFrames, packed_folder

# Items stand in the box of all that the data set knows of the first frame, not of the few points drawn of it.
DATA_BOX = UnitBox(np.zeros(3), 1.0)
OPEN_FOLDERS = 128  # kept open in each process; a packed one holds one file handle or two

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """`length` successive frames of one sequence, from frame `start` on."""

    sequence: Path  # data/Humans/D-FAUST/50002_knees
    start: int
    length: int
    numbers: tuple[int, ...] = ()  # of its frames, where the folders of the sequence hold different ones

    @property
    def category(self) -> str:
        """The class, such as D-FAUST."""
        return self.sequence.parent.name

    @property
    def name(self) -> str:
        """The sequence, such as 50002_knees."""
        return self.sequence.name

    @property
    def times(self) -> NDArray[np.float32]:
        """0 at the first frame, 1 at the last [T]."""
        return np.linspace(0, 1, self.length, dtype=np.float32)


class Windows(Protocol):
    """What tasks and evaluation need of a data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


def window_of(dataset: Windows, index: int) -> Window:
    """The window of an item; drawn bodies have no names and are told apart by their number."""
    windows: Sequence[Window] | None = getattr(dataset, "windows", None)
    return windows[index] if windows is not None else Window(Path("bodies", f"{index:05d}"), 0, 0)


class WindowFrames:
    """The frames of one window, each read once, however many fields take from it."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._read: dict[tuple[str, int], Frame] = {}

    def __call__(self, folder: str, step: int) -> Frame:
        """The frame `step` after the window's first one, of a folder such as pcl_seq."""
        if (folder, step) not in self._read:
            frames = open_frames(self.window.sequence / folder)
            numbers = self.window.numbers
            index = frames.numbers.index(numbers[step]) if numbers else self.window.start + step
            self._read[folder, step] = frames[index]
        return self._read[folder, step]


@lru_cache(maxsize=OPEN_FOLDERS)
def open_frames(folder: Path) -> Frames:
    """The frames of a folder such as pcl_seq; packed ones where they exist, with equal values."""
    packed = packed_folder(folder)
    if not packed.is_dir():
        return NpzFrames(folder)
    frames = PackedFrames(packed)
    unpacked_left = next(folder.glob("*.npz"), None) is not None
    if unpacked_left and frames.numbers != (unpacked := NpzFrames(folder).numbers):
        raise DataError(
            f"{packed} holds {len(frames.numbers)} frames, {folder} {len(unpacked)} others; {AGAIN}"
        )
    return frames


def list_windows(data: DataConfig, split: str | None, folders: tuple[str, ...]) -> list[Window]:
    """All windows of a split, in order of the list, then of the start.

    `split` names `<class>/<split>.lst`; with None, or where there is no such file, it is every sequence,
    sorted. Windows with a frame that one of the `folders` lacks are left out with a warning. Raises DataError
    where a folder is missing or no window fits.
    """
    open_frames.cache_clear()  # what lies on the disk now, not when it was opened before
    windows: list[Window] = []
    lengths = {}
    for sequence in list_sequences(data, split):
        held = [open_frames(sequence / folder).numbers for folder in folders]
        numbers = sorted(set().union(*held))
        incomplete = set(numbers).difference(set(numbers).intersection(*held))
        end = lengths[sequence.name] = len(numbers)
        if data.n_files_per_sequence > 0:  # counted from the offset on
            end = min(end, data.offset_sequence + data.n_files_per_sequence)
        starts = range(data.offset_sequence, end - data.length_sequence + 1)
        if not incomplete:
            windows += [Window(sequence, start, data.length_sequence) for start in starts]
            continue
        whole = [tuple(numbers[start : start + data.length_sequence]) for start in starts]
        kept = [
            Window(sequence, start, data.length_sequence, window)
            for start, window in zip(starts, whole, strict=True)
            if incomplete.isdisjoint(window)
        ]
        log.warning(
            "%s: frame %08d is not in all of %s (%d such frames); %d of %d windows are left out",
            *(sequence, min(incomplete), ", ".join(folders), len(incomplete)),
            *(len(starts) - len(kept), len(starts)),
        )
        windows += kept
    if not windows:
        raise DataError(_too_short(data, split, lengths))
    return windows


def list_sequences(data: DataConfig, split: str | None) -> list[Path]:
    """The folders of the sequences of a split."""
    root = Path(data.path)
    if not root.is_dir():
        raise DataError(f"there is no folder {root.absolute()}; set data.path to the data set's")
    classes = [root / name for name in data.classes] if data.classes else _folders(root)
    sequences = []
    for folder in classes:
        if not folder.is_dir():
            raise DataError(
                f"there is no folder {folder}; data.classes names {', '.join(data.classes or [])}"
            )
        sequences += _listed(folder, split) or _folders(folder)
    if not sequences:
        raise DataError(f"{root} holds no sequences; wanted {root}/<class>/<sequence>/pcl_seq/00000000.npz")
    return sequences


def _listed(folder: Path, split: str | None) -> list[Path]:
    """The sequences that a split's list names, or none where there is no list."""
    if split is None:
        return []
    file = folder / f"{split}.lst"
    if not file.is_file():
        if any(folder.glob("*.lst")):
            log.warning("there is no %s: every sequence in %s is taken", file, folder)
        else:
            log.warning(
                "%s has no lists of sequences (train.lst, val.lst, test.lst): ALL SPLITS ARE ALL SEQUENCES, "
                "so scores are of what was learnt; name the sequences of each split there, one a line",
                folder,
            )
        return []
    names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    sequences = [folder / name for name in names if name]
    if missing := [sequence.name for sequence in sequences if not sequence.is_dir()]:
        raise DataError(f"{file} names {', '.join(missing)}, which {folder} does not hold")
    if not sequences:
        raise DataError(f"{file} is empty; wanted the name of one sequence a line")
    return sequences


def _folders(folder: Path) -> list[Path]:
    return sorted(
        child for child in folder.iterdir() if child.is_dir() and not child.name.startswith((".", "_"))
    )


def _too_short(data: DataConfig, split: str | None, lengths: dict[str, int]) -> str:
    offset, length, limit = data.offset_sequence, data.length_sequence, data.n_files_per_sequence
    longest = sorted(lengths.items(), key=lambda entry: -entry[1])[:5]
    found = ", ".join(f"{name} {frames}" for name, frames in longest) + (", …" if len(lengths) > 5 else "")
    fault = (
        f"no window fits in {data.path}, split {split or 'null'}: frames {found}; data.offset_sequence "
        f"{offset} and data.length_sequence {length} need at least {offset + length}"
    )
    if 0 < limit < length:
        fault += f", and data.n_files_per_sequence {limit} leaves no room for {length}"
    return fault
