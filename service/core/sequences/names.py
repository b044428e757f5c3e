"""What the names of frames say: which files are frames, their order and their numbers."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePosixPath

_LITTER_FILES = ("thumbs.db", "desktop.ini")
_LITTER_STARTS = ("readme", "license", "licence", "copying", "changelog")


def suffix_of(name: str) -> str:
    """The ending of a name in lower case, such as `.ply`."""
    return PurePosixPath(name).suffix.lower()


def is_litter(name: str) -> bool:
    """Whether a file is left by the system that packed a folder, or describes it: no frame in any case."""
    path = PurePosixPath(name.lower())
    hidden = any(part.startswith(".") or part == "__macosx" for part in path.parts)
    return hidden or path.name in _LITTER_FILES or path.name.startswith(_LITTER_STARTS)


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts frame2 before frame10."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part) for part in parts]


def kinds_of(names: Sequence[str]) -> str:
    """The endings of the names with how often each occurs, the most frequent first."""
    counts = Counter(suffix_of(name) or "no ending" for name in names)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(6))


def frame_numbers(names: Sequence[str]) -> list[int] | None:
    """The numbers by which names in natural order differ, if they differ by one number and it increases."""
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    parts = [re.split(r"(\d+)", stem) for stem in stems]
    texts = {tuple(part[::2]) for part in parts}
    if len(texts) != 1:
        return None
    columns = [column for column in zip(*(part[1::2] for part in parts), strict=True) if len(set(column)) > 1]
    if len(columns) != 1:
        return None
    numbers = [int(text) for text in columns[0]]
    return numbers if all(a < b for a, b in pairwise(numbers)) else None
