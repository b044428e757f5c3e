"""Several files as one archive."""

import shutil
import zipfile
from collections.abc import Iterable
from io import SEEK_END
from typing import BinaryIO

from service.core.sequences.errors import DEFAULT_LIMITS, Limits, megabytes, quoted, refusal
from service.core.sequences.names import is_litter

FILES = "one file per frame"


def pack_frames(
    parts: Iterable[tuple[str, BinaryIO]], out: BinaryIO, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Pack files, named by their paths in a folder, into an uncompressed zip archive.

    Whether they are frames is told by whoever reads it; litter is left out. Raises SequenceError.
    """
    names: set[str] = set()
    total = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for given, part in parts:
            name = given.replace("\\", "/").lstrip("/")
            if is_litter(name):
                continue
            if name in names or not name:
                message = "has two files of one name" if name else "has a file without a name"
                raise refusal(
                    "invalid_sequence", "file", message, quoted(name), "a name of its own for each frame"
                )
            names.add(name)
            total += part.seek(0, SEEK_END)
            if total > limits.max_bytes or len(names) > limits.max_files:
                found = f"{megabytes(total)} in {len(names)} files"
                wanted = f"at most {megabytes(limits.max_bytes)} in {limits.max_files} files"
                raise refusal("too_large", "file", "is too large", found, wanted)
            part.seek(0)
            with archive.open(zipfile.ZipInfo(name), "w") as entry:  # fixed date, for reproducible bytes
                shutil.copyfileobj(part, entry)
    if not names:
        raise refusal("invalid_sequence", "file", "contains no frames", "no file that could be one", FILES)
