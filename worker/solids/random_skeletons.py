"""Random jointed things, drawn from families, as tensors of equal size.

Sizes are such that the longest side of the whole in its rest pose is 1.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.solids.families import FAMILIES
from worker.solids.skeletons import Skeletons, pose
from worker.solids.trees import Tree


def draw_skeletons(count: int, seed: int) -> Skeletons:
    """`count` things, each of a family chosen at random; the same ones for the same seed. On the CPU."""
    rng = np.random.default_rng(seed)
    trees = [_draw_tree(rng) for _ in range(count)]
    columns = {name: np.stack([tree[name] for tree in trees]) for name in trees[0]}
    skeletons = Skeletons(**{name: _tensor(column) for name, column in columns.items()})
    return _of_unit_size(skeletons)


def _draw_tree(rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    tree = Tree(rng)
    names = list(FAMILIES)
    weights = np.array([FAMILIES[name][1] for name in names])
    FAMILIES[names[rng.choice(len(names), p=weights / weights.sum())]][0](tree, rng)
    return tree.padded()


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array if array.dtype.kind != "f" else array.astype(np.float32))


def _of_unit_size(skeletons: Skeletons) -> Skeletons:
    rotation, origin = pose(skeletons, skeletons.rotation, skeletons.joint)
    ends = torch.stack([torch.zeros_like(skeletons.half), 2 * skeletons.middle], dim=2)  # [S, K, 2, 3]
    ends = torch.einsum("skij,skej->skei", rotation, ends) + origin[:, :, None]
    radius = skeletons.half[..., [0, 2]].amax(dim=2)[:, :, None, None]  # [S, K, 1, 1]
    high, low = (ends + radius).amax(dim=(1, 2)), (ends - radius).amin(dim=(1, 2))  # [S, 3]
    scale = 1 / (high - low).amax(dim=1)  # [S]
    return replace(
        skeletons,
        joint=skeletons.joint * scale[:, None, None],
        half=skeletons.half * scale[:, None, None],
    )
