"""Individually uploaded frames as one archive."""

import shutil
import zipfile
from collections.abc import Iterable
from io import SEEK_END
from typing import BinaryIO

from service.core.sequences.errors import DEFAULT_LIMITS, Limits, megabytes, quoted, refusal
from service.core.sequences.formats import WANTED, is_frame


def pack_frames(
    parts: Iterable[tuple[str, BinaryIO]], out: BinaryIO, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Pack the individually uploaded files of a per-frame sequence into an uncompressed zip archive."""
    names: set[str] = set()
    total = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, part in parts:
            if not is_frame(name) or name in names:
                message = "has a duplicate frame name" if name in names else "has an invalid frame name"
                raise refusal("invalid_sequence", "file", message, quoted(name), WANTED)
            names.add(name)
            total += part.seek(0, SEEK_END)
            if total > limits.max_bytes or len(names) > limits.max_frames:
                found = f"{megabytes(total)} in {len(names)} files"
                wanted = f"at most {megabytes(limits.max_bytes)} in {limits.max_frames} files"
                raise refusal("too_large", "file", "is too large", found, wanted)
            part.seek(0)
            with archive.open(zipfile.ZipInfo(name), "w") as entry:  # fixed date, for reproducible bytes
                shutil.copyfileobj(part, entry)
