import mcubes
import numpy as np
import pytest
import torch

from model.surface.marching_cubes import march_cells


def all_cells(size: int) -> torch.Tensor:
    line = torch.arange(size - 1)
    return torch.cartesian_prod(line, line, line)


@pytest.mark.parametrize("smooth", [1, 5])
@pytest.mark.parametrize("level", [0.0, 0.1])
def test_the_arrays_are_those_of_marching_cubes_on_the_whole_grid(smooth: int, level: float) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 1, 20, 20, 20, generator=generator)  # all 256 cases
    values = torch.nn.functional.avg_pool3d(noise, smooth, 1)[0, 0]
    for axis in range(3):  # nothing at the sides: there the whole grid makes vertices in another order
        values.select(axis, 0).fill_(-9)
        values.select(axis, -1).fill_(-9)
    level = float(np.float32(level))
    cells = all_cells(len(values))
    shuffled = cells[torch.randperm(len(cells), generator=generator)]
    vertices, faces = march_cells(values, shuffled, level)
    expected = mcubes.marching_cubes(values.double().numpy(), level)
    np.testing.assert_allclose(vertices, expected[0], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(faces, expected[1])
    assert len(faces) > 500


def test_only_the_given_cells_are_marched() -> None:
    values = torch.full((6, 6, 6), -1.0)
    values[2, 2, 2] = values[4, 4, 4] = 1.0
    near = all_cells(6)[(all_cells(6) < 3).all(dim=1)]
    vertices, faces = march_cells(values, near, 0.0)
    assert (len(vertices), len(faces)) == (6, 8)
    np.testing.assert_allclose(vertices.mean(dim=0), [2, 2, 2])
