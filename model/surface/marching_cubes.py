"""Marching cubes on selected cells of a grid, vectorized over the cells.

The case table (Lorensen and Cline 1987) is generated with PyMCubes, one cell at a time. The result is that of
the reference implementation, `mcubes.marching_cubes` on the complete grid.
"""

from functools import cache

import mcubes
import numpy as np
import torch
from torch import Tensor

CORNERS = torch.cartesian_prod(*[torch.arange(2)] * 3)  # [8, 3]
MAX_TRIANGLES = 5  # of one cell


def march_cells(values: Tensor, cells: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """Vertices [V, 3] (float64, grid units) and faces [F, 3] of a level set in `cells` [C, 3] of a grid.

    `values` [X, Y, Z] must be known at all corners of these cells. Cells must be unique.
    """
    device, shape = values.device, values.shape
    strides = torch.tensor([shape[1] * shape[2], shape[2], 1], device=device)  # [3]
    # Sums instead of matrix products, which CUDA has for no integers.
    corners = (CORNERS.to(device) * strides).sum(dim=1)  # [8], from the lowest corner
    grid = values.reshape(-1)
    first = (cells * strides).sum(dim=1)  # [C], its lowest corner
    above = grid[first[:, None] + corners] > level  # [C, 8]
    case = (above << torch.arange(8, device=device)).sum(dim=1)  # [C]
    crossed = ((case != 0) & (case != 255)).nonzero()[:, 0]  # [A]
    crossed = crossed[first[crossed].argsort()]
    edges, used = _cases(str(device))
    edge = edges[case[crossed]]  # [A, 15], edges of the cell
    end = first[crossed][:, None] + corners[edge // 3]  # [A, 15], the upper end of each edge
    key = (3 * end + edge % 3)[used[case[crossed]]]  # [3 F], index of each edge in the grid
    key, faces = torch.unique(key, return_inverse=True)  # [V], [3 F]
    end, axis = key // 3, key % 3
    start = end - strides[axis]
    low, high = grid[start].double(), grid[end].double()  # [V]
    vertices = torch.stack(
        [start // strides[0], start // strides[1] % shape[1], start % shape[2]], dim=1
    ).double()  # [V, 3]
    vertices[torch.arange(len(vertices), device=device), axis] += (level - low) / (high - low)
    return vertices, faces.view(-1, 3)


@cache
def _cases(device: str) -> tuple[Tensor, Tensor]:
    """Case table: the edges of each case's triangles [256, 15], and a mask of the entries in use.

    Corner i of a cell is `CORNERS[i]`; bit i of a case is set if it is above the level. Edge 3 i + a is
    parallel to axis a and ends at corner i.
    """
    edges = np.zeros((256, 3 * MAX_TRIANGLES), np.int64)
    used = np.zeros((256, 3 * MAX_TRIANGLES), bool)
    for case in range(1, 255):
        bits = case >> np.arange(8) & 1  # [8]
        vertices, faces = mcubes.marching_cubes(2.0 * bits.reshape(2, 2, 2) - 1, 0.0)  # at edge midpoints
        axis = (vertices == 0.5).argmax(axis=1)  # [V]
        corner = np.ceil(vertices).astype(int) @ [4, 2, 1]  # [V]
        found = (3 * corner + axis)[faces.ravel()]
        edges[case, : len(found)], used[case, : len(found)] = found, True
    return torch.from_numpy(edges).to(device), torch.from_numpy(used).to(device)
