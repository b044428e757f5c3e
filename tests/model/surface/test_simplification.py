import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from model.errors import InputError
from model.surface.simplification import simplify

Surface = tuple[NDArray[Any], NDArray[Any]]  # vertices [V, 3], faces [F, 3]

PARITY = Path(__file__).parents[2] / "data" / "isosurface.npz"


def closed_volume(vertices: NDArray[Any], faces: NDArray[Any]) -> float:
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    return mesh.volume


@pytest.fixture
def surface() -> Surface:
    data = np.load(PARITY)
    return data["mesh_vertices"], data["mc_faces"].astype(np.int64)


@pytest.mark.parametrize(("target", "loss"), [(1500, 0.002), (200, 0.03), (50, 0.3)])
def test_reduces_and_stays_closed_and_oriented(surface: Surface, target: int, loss: float) -> None:
    vertices, faces = simplify(*surface, target)
    assert target - 1 <= len(faces) <= target
    assert (vertices.dtype, faces.dtype) == (np.dtype(np.float64), np.dtype(np.int64))
    assert len(np.unique(faces)) == len(vertices)
    assert closed_volume(vertices, faces) == pytest.approx(closed_volume(*surface), rel=loss)


def test_as_good_as_the_published_simplification(surface: Surface) -> None:
    """The same numbers of faces and vertices, and the same volume lost."""
    data = np.load(PARITY)
    vertices, faces = simplify(*surface, len(data["simplified_faces"]))
    assert vertices.shape == data["simplified_vertices"].shape
    expected = closed_volume(data["simplified_vertices"], data["simplified_faces"])
    assert closed_volume(vertices, faces) == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("extra", [0, 1000])
def test_does_nothing_where_there_are_no_more_faces(surface: Surface, extra: int) -> None:
    vertices, faces = simplify(*surface, len(surface[1]) + extra)
    assert vertices is surface[0]
    assert faces is surface[1]


@pytest.mark.parametrize("target", [4, 8, 20])
def test_a_ring_is_neither_torn_nor_crushed_by_too_small_a_target(target: int) -> None:
    ring = trimesh.creation.torus(1.0, 0.3, major_sections=64, minor_sections=32)
    vertices, faces = simplify(np.array(ring.vertices), np.array(ring.faces), target)
    assert closed_volume(vertices, faces) > 0.25 * ring.volume
    assert trimesh.Trimesh(vertices, faces, process=False).euler_number == 0
    assert target <= len(faces) < len(ring.faces) / 2


def test_an_open_sheet_may_be_simplified() -> None:
    line = np.linspace(0, 1, 20)
    x, y = np.meshgrid(line, line, indexing="ij")
    vertices = np.stack([x, y, np.sin(3 * x)], axis=-1).reshape(-1, 3)
    corner = (np.arange(19)[:, None] * 20 + np.arange(19)).ravel()
    faces = np.concatenate([corner[:, None] + [0, 20, 21], corner[:, None] + [0, 21, 1]])
    _, fewer = simplify(vertices, faces, 100)
    assert 90 <= len(fewer) <= 100


def test_fewer_than_four_faces_are_refused(surface: Surface) -> None:
    with pytest.raises(InputError, match="simplify is 3: a closed surface has at least 4 faces"):
        simplify(*surface, 3)


def test_threads_do_not_mix_their_meshes(surface: Surface) -> None:
    targets = [1500, 1000, 500, 200] * 5
    expected = [simplify(*surface, target) for target in targets]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda target: simplify(*surface, target), targets))
    finally:
        sys.setswitchinterval(interval)
    for (vertices, faces), (wanted_vertices, wanted_faces) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(faces, wanted_faces)
        np.testing.assert_array_equal(vertices, wanted_vertices)
