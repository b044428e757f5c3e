"""Whether what is before and after a cut is one thing."""

import numpy as np
import pytest

from model.errors import InputError, PoorFitError
from model.reconstruction.preparation import prepare
from model.reconstruction.takes import require_one_thing
from tests.model.registration.solids import bend, solid

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
