"""Nearest points are the same ones, by whatever they are found."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from model.registration import neighbors
from model.registration.neighbors import search
from tests.model.registration.solids import draw, solid


@pytest.mark.parametrize(("far", "trees"), [(0.0, 0), (100.0, 1)])
@pytest.mark.parametrize("count", [300, 3000])
def test_a_search_finds_what_a_tree_finds(
    count: int, far: float, trees: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stray points far away are left to a tree."""
    rng, made = np.random.default_rng(0), []

    def counted(points: np.ndarray) -> cKDTree:
        made.append(points)
        return cKDTree(points)

    monkeypatch.setattr(neighbors, "cKDTree", counted)
    cloud = draw(*solid(), count, rng)
    cloud[:3] += far
    queries = cloud[::3] + rng.normal(0, 0.01, cloud[::3].shape)
    distance, index = search(cloud)(queries, 5)
    expected = cKDTree(cloud).query(queries, 5)
    np.testing.assert_allclose(distance, expected[0], rtol=1e-12)
    np.testing.assert_array_equal(index, expected[1])
    assert len(made) == trees
