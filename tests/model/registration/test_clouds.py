"""Orders of points."""

import numpy as np
import pytest

from model.compiled import Floats
from model.registration.clouds import canonical_order, distinct, sorted_by


def points(levels: int | None) -> Floats:
    """Points [N, 3], on a lattice of so many levels along each axis where that is given."""
    drawn = np.random.default_rng(0).random((500, 3))
    return drawn if levels is None else np.floor(levels * drawn) / levels


@pytest.mark.parametrize("levels", [None, 3, 100])
def test_the_order_is_that_of_numpy_however_many_values_are_equal(levels: int | None) -> None:
    columns = np.ascontiguousarray(points(levels).T)
    np.testing.assert_array_equal(sorted_by(columns), np.lexsort(columns[::-1]))
    np.testing.assert_array_equal(sorted_by(columns[:1]), np.argsort(columns[0], kind="stable"))


@pytest.mark.parametrize("levels", [None, 3, 100])
def test_the_first_of_equal_points_stays(levels: int | None) -> None:
    cloud = points(levels)
    rows = distinct(cloud)
    expected, first = np.unique(cloud, axis=0, return_index=True)
    np.testing.assert_array_equal(cloud[rows], expected)
    np.testing.assert_array_equal(rows, first)


@pytest.mark.parametrize("levels", [None, 100])
def test_the_canonical_order_depends_on_the_points_only(levels: int | None) -> None:
    cloud = points(levels)
    shuffled = np.random.default_rng(1).permutation(cloud)
    np.testing.assert_array_equal(cloud[canonical_order(cloud)], shuffled[canonical_order(shuffled)])
