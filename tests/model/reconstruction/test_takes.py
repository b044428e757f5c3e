"""Whether what is before and after a cut is one thing."""

import numpy as np
import pytest

from model import Reconstructor
from model.errors import InputError, PoorFitError
from model.reconstruction import takes
from model.reconstruction.preparation import prepare
from model.reconstruction.takes import require_one_thing
from tests.model.registration.solids import bend, draw, seen_from_above, solid

REST, FACES = solid(2)
PHASES = np.array([0, 0.05, 0.1, 0.9, 0.95, 1.0])


def test_one_thing_in_another_pose_passes() -> None:
    require_one_thing(np.stack([bend(REST, phase) for phase in PHASES]), FACES, [3])


def test_another_thing_after_a_cut_is_refused_with_the_number_of_the_frame() -> None:
    other = REST * [1, 2, 0.5]
    changed = np.stack([bend(REST if phase < 0.5 else other, phase) for phase in PHASES])
    with pytest.raises(PoorFitError, match=r"cut before frame 3, .*cut the file there and send the parts"):
        require_one_thing(changed, FACES, [3])
    require_one_thing(changed, FACES, [])  # no cut


def test_a_thing_that_stretches_all_the_time_passes() -> None:
    grown = np.stack([REST * factor for factor in (0.5, 1, 2, 0.5, 1.2, 2.5)])
    require_one_thing(grown, FACES, [3])


def test_rows_that_are_said_to_correspond_and_change_at_a_cut_are_refused() -> None:
    points = [bend(REST, phase) for phase in PHASES]
    order = np.random.default_rng(0).permutation(len(REST))
    with pytest.raises(
        InputError, match="before frame 3 the rows become other particles: cut the file there"
    ):
        prepare(points[:3] + [cloud[order] for cloud in points[3:]], True)


@pytest.mark.parametrize("one_sided", [False, True])
def test_lengths_refuse_nothing_where_they_are_guesses(
    one_sided: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A solid before and after a cut, seen from above or from all around, whose lengths seem to change."""
    monkeypatch.setattr(takes, "differences", lambda *_: [(6, 0.7, 0.1)])
    rest, faces = solid()
    rng = np.random.default_rng(0)
    frames = []
    for t, phase in enumerate(np.linspace(0, 0.3, 12)):
        vertices = bend(rest, phase) + (0 if t < 6 else 3)
        frames.append(draw(vertices, seen_from_above(vertices, faces) if one_sided else faces, 800, rng))
    local = Reconstructor.from_config("local_oflow")
    if one_sided:
        meshes = local(frames, resolution=32, quality="draft")
        assert meshes.findings is not None
        assert meshes.findings.verdict == "doubtful"
        assert meshes.findings.warnings[0].startswith("the sequence jumps or is cut before frame 6: ")
    else:
        with pytest.raises(PoorFitError, match="cut before frame 6, and a different object follows"):
            local(frames, resolution=32, quality="draft")
