"""A reconstruction asks often whether to go on: the work between two questions does not grow with frames."""

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import model
from model import Reconstructor
from model.canceling import canceled_by, cancellation_point
from model.errors import Canceled
from model.registration.parallel import side_by_side
from tests.model.registration.solids import bend, draw, solid

HERE = str(Path(model.__file__).parent)
MANY = 32  # frames, more than an even selection of some has
MOST = 27  # calls of one function between two questions


@contextmanager
def counting(counts: Counter[str]) -> Iterator[None]:
    """Count calls of Python functions of `model`, on all threads; generators and networks are not."""

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(HERE):
            name = f"{code.co_filename[len(HERE) :]} {code.co_qualname}"
            counts[name] += not ("<genexpr>" in name or name.startswith("/networks"))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.mark.parametrize("corresponding", [False, True])
def test_no_loop_over_frames_runs_without_asking(corresponding: bool) -> None:
    vertices, faces = solid(3)
    rng = np.random.default_rng(0)
    clouds = [draw(bend(vertices, phase), faces, 100, rng) for phase in np.linspace(0, 1, MANY)]
    if corresponding:
        some = rng.permutation(len(vertices))[:100]
        clouds = [bend(vertices[some], phase) for phase in np.linspace(0, 1, MANY)]
    reconstructor = Reconstructor.from_config("local_oflow")
    colors = [np.zeros((100, 3), np.uint8)] * MANY
    since: Counter[str] = Counter()
    most: Counter[str] = Counter()

    def asked(_: str, fraction: float) -> None:
        if not fraction and not most:
            since.clear()  # the input was checked before the first question
        most.update({name: count - most[name] for name, count in since.items() if count > most[name]})
        since.clear()

    with counting(since):
        reconstructor(
            clouds, corresponding=corresponding, quality="draft", resolution=32, colors=colors, color="input",
            smooth=1, fill_holes=True, progress=asked,
        )  # fmt: skip
    asked("", 1.0)
    often = {name: count for name, count in most.items() if count > MOST}
    assert not often, often
    assert len(most) > 50


def test_threads_reach_the_same_question() -> None:
    def ask() -> None:
        raise Canceled("enough")

    with canceled_by(ask), pytest.raises(Canceled, match="enough"):
        side_by_side(lambda _: cancellation_point(), [1, 2], threads=2)
    cancellation_point()  # nobody asks any more
