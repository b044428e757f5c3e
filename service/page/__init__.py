"""The files that browsers get: the page at `/`, the documentation at `/docs`, the samples."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from service.page.samples import SAMPLES

_FOLDER = Path(__file__).parent
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".npz": "application/octet-stream",
    ".svg": "image/svg+xml",
}
# Only what is listed here can be asked for, so no name leads out of these folders.
_FILES = {
    path.name: path
    for folder in ("static", "vendor")
    for path in (_FOLDER / folder).iterdir()
    if path.suffix in _MEDIA_TYPES and not path.name.endswith(".entry.js")
} | {sample.path.name: sample.path for sample in SAMPLES.values()}


@dataclass(frozen=True)
class Asset:
    """A file as it is sent; `packed` is the same by gzip, None where that gains nothing."""

    body: bytes
    packed: bytes | None
    media_type: str
    etag: str


@cache
def asset(name: str) -> Asset | None:
    """The file of that name, read and packed when it is first asked for; None where there is none."""
    path = _FILES.get(name)
    if path is None:
        return None
    body = path.read_bytes()
    packed = gzip.compress(body, mtime=0)
    return Asset(
        body,
        packed if len(packed) < 0.9 * len(body) else None,
        _MEDIA_TYPES[path.suffix],
        f'"{hashlib.sha256(body).hexdigest()[:32]}"',
    )
