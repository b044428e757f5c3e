"""Static assets: the web page at `/`, the API documentation at `/docs`, and the samples."""

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
# Only files listed here are served, which rules out path traversal.
_FILES = {
    path.name: path
    for folder in ("static", "vendor")
    for path in (_FOLDER / folder).iterdir()
    if path.suffix in _MEDIA_TYPES and not path.name.endswith(".entry.js")
} | {sample.path.name: sample.path for sample in SAMPLES.values()}


@dataclass(frozen=True)
class Asset:
    """A file to serve. `gzipped` is None if compression saves less than 10 %."""

    body: bytes
    gzipped: bytes | None
    media_type: str
    etag: str


@cache
def asset(name: str) -> Asset | None:
    """The asset with this name, loaded and compressed on first use; None if it does not exist."""
    path = _FILES.get(name)
    if path is None:
        return None
    return _made(path.read_bytes(), _MEDIA_TYPES[path.suffix])


def with_head(document: Asset, head: str) -> Asset:
    """An HTML document with further elements in its head."""
    return _made(document.body.replace(b"</head>", head.encode() + b"</head>", 1), document.media_type)


def _made(body: bytes, media_type: str) -> Asset:
    gzipped = gzip.compress(body, mtime=0)
    return Asset(
        body,
        gzipped if len(gzipped) < 0.9 * len(body) else None,
        media_type,
        f'"{hashlib.sha256(body).hexdigest()[:32]}"',
    )
