"""Random solids of many families: which parts they are made of, and how these are put together.

    solids = draw_solids(np.random.default_rng(7), 32)     # Solids within [-1, 1]³, on the CPU

Creatures, worms, animals, hands, insects, furniture, overlapping blocks with holes, vessels, rings, gliders,
machines and things apart from each other: round and sharp, thick and as thin as a sheet, in all orientations.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worker.solids.drafts import PARTS, SHARP, Recipe, Rng, direction, orientation
from worker.solids.living import animal, creature, hand, insect, worm
from worker.solids.made import apart, blocks, furniture, glider, machine, rings, vessel
from worker.solids.parts import REVOLVED, Solids

WAVES = 2
EXTENT = 0.9  # of the largest coordinate

FAMILIES: tuple[Callable[[Rng], Recipe], ...] = (
    creature, creature, worm, animal, animal, animal, hand, insect, furniture, blocks, blocks, vessel, rings,
    glider, machine, apart,
)  # fmt: skip


def draw_solids(rng: Rng, count: int) -> Solids:
    """`count` solids of random families."""
    drawn = [_columns(rng, draw_recipe(rng)) for _ in range(count)]
    stacked = {name: np.stack([columns[name] for columns in drawn]) for name in drawn[0]}
    return Solids(**{name: torch.from_numpy(column) for name, column in stacked.items()})


def draw_recipe(rng: Rng) -> Recipe:
    recipe = FAMILIES[rng.integers(len(FAMILIES))](rng)
    recipe.parts = recipe.parts[:PARTS]
    return recipe


def _columns(rng: Rng, recipe: Recipe) -> dict[str, NDArray[Any]]:
    """The rows of `Solids` for one recipe: turned, moved into [-1, 1]³ and bent a little."""
    parts = recipe.parts
    turn = orientation(rng)
    rotation = np.stack([turn @ part.rotation for part in parts])  # [K, 3, 3]
    centre = np.stack([turn @ part.centre for part in parts])
    half = np.stack([part.half for part in parts])
    reach = half * (1 + np.array([[abs(part.taper)] for part in parts]))
    revolved = [k for k, part in enumerate(parts) if part.kind == REVOLVED]
    half[revolved, 2] = half[revolved, 0]
    reach[revolved, 0] += [parts[k].ring for k in revolved]
    reach[revolved, 2] = reach[revolved, 0]
    spans = np.einsum("kij,kj->ki", np.abs(rotation), reach)
    added = np.array([part.sign > 0 for part in parts])
    low, high = (centre - spans)[added].min(axis=0), (centre + spans)[added].max(axis=0)
    scale = EXTENT / ((high - low).max() / 2)
    waves = np.zeros((WAVES, 7))
    if rng.random() < 0.4:
        frequency = rng.normal(0, 1, (WAVES, 3)) * rng.uniform(0.5, 5)
        size = rng.uniform(0, 0.3) / np.maximum(np.linalg.norm(frequency, axis=1, keepdims=True), 3)
        amplitude = size * np.stack([direction(rng) for _ in range(WAVES)])
        waves = np.concatenate([frequency, rng.uniform(0, 2 * np.pi, (WAVES, 1)), amplitude], axis=1)
    columns = {
        "kind": np.array([part.kind for part in parts]),
        "sign": np.array([part.sign for part in parts]),
        "rotation": rotation,
        "centre": (centre - (low + high) / 2) * scale,
        "half": np.maximum(half * scale, 0.004),
        "rounding": np.array([part.rounding for part in parts]) * scale,
        "ring": np.array([part.ring for part in parts]) * scale,
        "taper": np.array([part.taper for part in parts]),
    }
    padded = {name: _padded(column) for name, column in columns.items()}
    padded["half"][len(parts) :] = 1.0
    return padded | {
        "blend": np.asarray(max(recipe.blend * scale, SHARP), dtype=np.float32),
        "waves": waves.astype(np.float32),
    }


def _padded(column: NDArray[Any]) -> NDArray[Any]:
    kind = np.int64 if column.dtype.kind == "i" else np.float32
    padded = np.zeros((PARTS, *column.shape[1:]), dtype=kind)
    padded[: len(column)] = column
    return padded
