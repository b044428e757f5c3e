"""Schemathesis hooks that supply valid sequence files, which cannot be generated from the schema."""

import io
import itertools
import json
from typing import Any

import numpy as np
import schemathesis

from service.core.jobs.options import EXCLUSIVE
from service.page.samples import SAMPLES

POINTS = np.load(SAMPLES["knees"].path)["points"]  # [17, 300, 3]
SEQUENCE = SAMPLES["knees"].path.read_bytes()
COLORS = np.full(POINTS.shape, 100, np.uint8)


def archive(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def texts(frames: int) -> list[bytes]:
    rows = np.concatenate([POINTS, COLORS], axis=-1)[:frames].tolist()  # [T, N, 6]
    return ["\n".join(" ".join(map(str, row)) for row in frame).encode() for frame in rows]


DEPTH = np.full((6, 12, 16), 2000, np.uint16)
UPLOADS = {  # the parts named `file` by the number of frames, to know the jobs of each again
    17: [SEQUENCE],
    9: [archive(points=POINTS[:9], colors=COLORS[:9], times=np.arange(9), corresponding=True)],
    8: [archive(points=POINTS[:8].reshape(-1, 3), colors=COLORS[:8].reshape(-1, 3), lengths=[300] * 8)],
    7: texts(7),
    6: [archive(depth=DEPTH, fx=20, fy=20, cx=7.5, cy=5.5)],
}
COLORLESS = (17, 6)
_uploads = itertools.cycle(UPLOADS.items())


@schemathesis.hook("before_call")
def send_a_sequence(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, object]
) -> None:
    """Make valid requests acceptable: a real file, options that go together, no query but with a raw file."""
    if case.path != "/reconstruct" or not (case.meta and case.meta.generation.mode.is_positive):
        return
    if case.media_type == "application/octet-stream":
        kwargs["data"] = SEQUENCE  # in place of the body
        make_acceptable(case.query)
        return
    case.query.clear()
    if case.media_type == "multipart/form-data" and isinstance(case.body, dict):
        case.headers.pop("idempotency-key", None)  # the same for all, so that all but the first are refused
        options: dict[str, Any] = dict(case.body)
        make_acceptable(options)
        frames, files = next(_uploads)
        for name in ("file", *(("color", "texture") if frames in COLORLESS else ())):
            options.pop(name, None)
        kwargs["files"] = [
            *(("file", (f"{t}.xyz" if len(files) > 1 else "a.npz", data)) for t, data in enumerate(files)),
            *((name, (None, text)) for name, value in options.items() for text in as_texts(value)),
        ]


def make_acceptable(options: dict[str, Any]) -> None:
    """Leave out what excludes other options, and models, for hardly any name is one."""
    for name in ["model", *(other for one, other in EXCLUSIVE if one in options)]:
        options.pop(name, None)


def as_texts(value: Any) -> list[str]:
    """The fields of a form for one option: several for a list."""
    values = value if isinstance(value, list) else [value]
    return [value if isinstance(value, str) else json.dumps(value) for value in values]
